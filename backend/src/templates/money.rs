//! Amounts as people write them: by the currency's own decimals.
//!
//! Stripe counts in a currency's smallest unit, and which that is is its own list, which is not quite that of ISO 4217:
//! <https://docs.stripe.com/currencies#minor-units>.

/// Currencies without decimals, at Stripe.
const WITHOUT: [&str; 15] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"];
/// Currencies with three.
const WITH_THREE: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];
/// Currencies that have none and that Stripe counts by the hundredth all the same.
const BY_HUNDREDTHS: [&str; 2] = ["isk", "ugx"];

/// `amount` in the minor unit of `currency` as a text such as `NGN 5,000.00`; with these between the digits.
pub(super) fn text(amount: i64, currency: &str, decimal: &str, group: &str) -> String {
    let currency = currency.to_ascii_lowercase();
    let named = |list: &[&str]| list.contains(&&*currency);
    let (counted, shown) = match () {
        () if named(&WITHOUT) => (0, 0),
        () if named(&WITH_THREE) => (3, 3),
        () if named(&BY_HUNDREDTHS) => (2, 0),
        () => (2, 2),
    };
    let unit = 10_u64.pow(counted);
    let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    let sign = if amount < 0 { "-" } else { "" };
    let text = format!("{} {sign}{}", currency.to_ascii_uppercase(), grouped(whole, group));
    if shown == 0 && rest == 0 {
        return text;
    }
    format!("{text}{decimal}{rest:0width$}", width = counted as usize)
}

fn grouped(number: u64, group: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push_str(group);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (amount, currency, shown) in [
            (500_000, "ngn", "NGN 5,000.00"),
            (5000, "JPY", "JPY 5,000"),
            (5000, "kwd", "KWD 5.000"),
            (1_234_567, "kwd", "KWD 1,234.567"),
            (2900, "usd", "USD 29.00"),
            (5, "eur", "EUR 0.05"),
            (-2900, "usd", "USD -29.00"),
            (500_000, "ugx", "UGX 5,000"),
            (0, "xof", "XOF 0"),
            (i64::MIN, "usd", "USD -92,233,720,368,547,758.08"),
        ] {
            assert_eq!(text(amount, currency, ".", ","), shown);
        }
        assert_eq!(text(123_456_789, "eur", ",", "."), "EUR 1.234.567,89");
    }
}
