// API keys: made, shown once, rolled, revoked.
import { press, remove } from "./api.js";
import { confirm, open } from "./dialog.js";
import { button, el, heading } from "./dom.js";
import { day, moment } from "./format.js";
import { copy } from "./licenses.js";

export const of = ({ keys, me }) => ({ keys, isCustomer: me.stripeCustomerId !== null });

/** How long a rolled key may go on, in seconds. */
const GRACES = [
  [0, "Not at all"],
  [3_600, "An hour"],
  [86_400, "A day"],
  [604_800, "A week"],
];

export function render({ keys, isCustomer }, page) {
  if (!isCustomer) return [];
  const make = () => page.attempt(async () => reveal(await press("/api/api-keys"), "Your new key", page));
  return [
    heading("API keys", "keys-title"),
    keys.data.length === 0
      ? el("p.quiet", null, "You have no API key.")
      : el("ul.rows", { "aria-label": "Your API keys" }, keys.data.map((one) => row(one, page))),
    keys.hasMore && el("p.quiet", null, "Older keys are not shown."),
    el("div.buttons", null, button("Make a key", make, { id: "make-key" })),
  ];
}

function row({ id, prefix, createdAt, revokedAt }, page) {
  const isOver = revokedAt !== null && new Date(revokedAt) <= new Date();
  const about = revokedAt === null ? `made ${day(createdAt)}` : `${isOver ? "over since" : "good until"} ${moment(revokedAt)}`;
  const act = (name, text, done) => button(text, done, { id: `${name}-${id}`, "aria-label": `${text} ${prefix}` });
  return el(
    "li",
    isOver ? { class: "over" } : null,
    el("span.main", null, el("code", null, prefix), el("small", null, about)),
    revokedAt === null && act("reveal", "Show", () => page.attempt(() => show(id, page))),
    revokedAt === null && act("roll", "Roll…", () => roll(id, prefix, page)),
    !isOver && act("revoke", "Revoke…", () => revoke(id, prefix, page)),
  );
}

async function show(id, page) {
  reveal(await press(`/api/api-keys/${encodeURIComponent(id)}/reveal`), "Your key", page);
}

/** Shows a key, this once: it is nowhere else, and gone with the dialog. */
function reveal({ key }, title, page) {
  const warning = "Store it now: it is not shown again.";
  const { dialog } = open(title, [el("p", null, warning), el("code.secret", { tabindex: "0" }, key)], [copy(key, page)]);
  dialog.addEventListener("close", () => page.changed(null, null));
}

function roll(id, prefix, page) {
  const grace = el("select", { id: "grace" }, GRACES.map(([seconds, text]) => el("option", { value: seconds }, text)));
  const asked = confirm({
    title: `Roll ${prefix}`,
    content: [
      el("p", null, "You get a new key in its place."),
      el("label", { for: "grace" }, "How long should the old one go on working?"),
      grace,
    ],
    confirm: "Roll the key",
    act: async () => {
      const made = await press(`/api/api-keys/${encodeURIComponent(id)}/roll`, { graceSeconds: Number(grace.value) });
      asked.dialog.addEventListener("close", () => reveal(made, "Your new key", page));
    },
  });
}

function revoke(id, prefix, page) {
  confirm({
    title: `Revoke ${prefix}`,
    content: el("p", null, "Whatever uses it stops working at once. This cannot be taken back."),
    confirm: "Revoke the key",
    kind: "danger",
    act: async () => {
      await remove(`/api/api-keys/${encodeURIComponent(id)}`);
      await page.changed(null, `The key ${prefix} is revoked.`);
    },
  });
}
