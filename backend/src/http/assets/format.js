// How money and times are written.

// The page is in English; which English the browser's owner writes is theirs to say.
const locale = globalThis.navigator?.languages?.find((language) => /^en\b/i.test(language)) ?? "en";

// Stripe's own lists (https://docs.stripe.com/currencies#minor-units), which differ from those of browsers.
const WITHOUT_DECIMALS = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split(" ");
const WITH_THREE_DECIMALS = "bhd jod kwd omr tnd".split(" ");

function decimals(currency) {
  if (WITHOUT_DECIMALS.includes(currency)) return 0;
  return WITH_THREE_DECIMALS.includes(currency) ? 3 : 2;
}

/** An amount in its currency's minor unit. */
export function money(amount, currency) {
  const digits = decimals(currency);
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  const value = amount / 10 ** digits;
  try {
    return new Intl.NumberFormat(locale, { style: "currency", currency, ...options }).format(value);
  } catch {
    // What is no ISO 4217 currency.
    return `${new Intl.NumberFormat(locale, options).format(value)} ${currency}`;
  }
}

/** What a plan costs, for `quantity` of it; null where the plan does not say. */
export function price({ unitAmount, currency, interval }, quantity = 1) {
  if (unitAmount == null || currency == null) return null;
  const amount = money(unitAmount * quantity, currency);
  return interval == null || interval === "once" ? amount : `${amount} per ${interval}`;
}

/** A day, in the viewer's zone. */
export function day(time) {
  return time == null ? null : new Intl.DateTimeFormat(locale, { dateStyle: "long" }).format(new Date(time));
}

/** A day and a time of day. */
export function moment(time) {
  const options = { dateStyle: "medium", timeStyle: "short" };
  return time == null ? null : new Intl.DateTimeFormat(locale, options).format(new Date(time));
}

/** `1 machine`, `2 machines`. */
export function count(number, one) {
  return `${number} ${one}${number === 1 ? "" : "s"}`;
}

/** A word of ours that programs use, for a person: `past_due`, `insufficient_funds`. */
export function words(text) {
  return text.replaceAll("_", " ");
}
