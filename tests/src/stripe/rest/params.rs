//! Which parameters a call takes: `params.json`, a list made from the request types of Stripe's own package for Node
//! (23.1.0, for 2026-10-28.endive). `[]` stands for any number, `[*]` for any name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static PARAMS: LazyLock<BTreeMap<String, BTreeSet<String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("params.json")).expect("the list of parameters is one"));

/// What is wrong with a call's parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadParameter {
    /// Stripe knows no such call, or this Stripe does not.
    NoSuchCall,
    Unknown(String),
}

/// Judges the parameters of `call`: `POST /v1/subscriptions/{id}`.
pub(super) fn check(call: &str, form: &[(String, String)]) -> Result<(), BadParameter> {
    let known = PARAMS.get(call).ok_or(BadParameter::NoSuchCall)?;
    for (name, _) in form {
        if !is_known(known, name) {
            return Err(BadParameter::Unknown(name.clone()));
        }
    }
    Ok(())
}

fn is_known(known: &BTreeSet<String>, name: &str) -> bool {
    let shape = shape_of(name);
    let of_map = || shape.match_indices('[').any(|(at, _)| known.contains(&format!("{}[*]", &shape[..at])));
    known.contains(&shape) || of_map()
}

/// `items[0][price]` as `items[][price]`.
fn shape_of(name: &str) -> String {
    let mut parts = name.split('[');
    let mut shape = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let inner = part.trim_end_matches(']');
        let is_number = inner.bytes().all(|byte| byte.is_ascii_digit());
        shape = format!("{shape}[{}]", if is_number { "" } else { inner });
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(call: &str, names: &[&str]) -> Result<(), BadParameter> {
        let form: Vec<_> = names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        check(call, &form)
    }

    #[test]
    fn what_stripe_takes_is_taken_and_nothing_else_is() {
        let update = "POST /v1/subscriptions/{id}";
        let taken =
            ["items[0][id]", "items[0][price]", "cancel_at", "cancel_at_period_end", "metadata[user_id]", "expand[]"];
        assert_eq!(judge(update, &taken), Ok(()));
        for unknown in ["coupon", "items[0][amount]", "cancel_at[x]", "items[price]"] {
            assert_eq!(judge(update, &[unknown]), Err(BadParameter::Unknown(unknown.to_owned())));
        }
        assert_eq!(judge("POST /v1/payment_methods/{id}/attach", &[]), Ok(()), "a customer or an account");
        assert_eq!(judge("GET /v1/nothing", &[]), Err(BadParameter::NoSuchCall));
    }
}
