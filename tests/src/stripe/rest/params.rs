//! Which parameters a call takes: `params.json`, made from the request types of Stripe's own package for Node (23.1.0, for
//! 2026-10-28.endive). Of each its kinds (`k`: `str`, `num`, `bool`, `map`, `array`, `object`), whether it has to be
//! there (`req`), its values (`enum`; with `…`: and more), and what is in it (`f`), or in each of it; what is far from
//! billing has no `f`, and may hold anything.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::form::Sent;
use super::refused::Refused;

static PARAMS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("params.json")).expect("the list of parameters is one"));

/// How much metadata there may be: <https://docs.stripe.com/metadata>.
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_MAX: usize = 40;
const METADATA_VALUE_MAX: usize = 500;

/// Judges the parameters of `call`: `POST /v1/subscriptions/sub_1`.
pub(super) fn check(call: &str, form: &[(String, String)]) -> Result<(), Refused> {
    let known = PARAMS.get(call).or_else(|| {
        let parts: Vec<_> = call.split('/').collect();
        let fits = |known: &&String| {
            let known: Vec<_> = known.split('/').collect();
            known.len() == parts.len()
                && known.iter().zip(&parts).all(|(known, part)| *known == "{id}" || known == part)
        };
        PARAMS.get(PARAMS.keys().find(fits)?)
    });
    let known = known.and_then(Value::as_object).ok_or_else(|| Refused::no_such_call(call))?;
    members(known, &Sent::of(form), "")
}

fn members(known: &Map<String, Value>, sent: &BTreeMap<String, Sent>, within: &str) -> Result<(), Refused> {
    let full = |name: &str| if within.is_empty() { name.to_owned() } else { format!("{within}[{name}]") };
    for (name, value) in sent {
        let full = full(name);
        let Some(parameter) = known.get(name) else {
            let message = format!("Received unknown parameter: {full}");
            return Err(Refused::invalid(400, Some("parameter_unknown"), &message).about(&full));
        };
        one(parameter, value, &full)?;
    }
    let is_needed = |(_, parameter): &(&String, &Value)| parameter["req"] == 1;
    match known.iter().filter(is_needed).find(|(name, _)| !sent.contains_key(*name)) {
        Some((name, _)) => Err(Refused::needs(&full(name))),
        None => Ok(()),
    }
}

fn one(parameter: &Value, sent: &Sent, full: &str) -> Result<(), Refused> {
    let kinds: Vec<_> = parameter["k"].as_str().unwrap_or_default().split('|').collect();
    let is = |kind: &str| kinds.contains(&kind);
    let inside = parameter["f"].as_object();
    match sent {
        Sent::Text(text) => text_of(parameter, &kinds, text, full),
        Sent::Members(members) if is("map") => metadata(members, full),
        Sent::Members(of) if is("array") => of.iter().try_for_each(|(number, element)| {
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong("Invalid array", full));
            }
            match (inside, element) {
                (Some(known), Sent::Members(of)) => members(known, of, &format!("{full}[{number}]")),
                (Some(_), Sent::Text(_)) => Err(wrong("Invalid object", &format!("{full}[{number}]"))),
                (None, _) => Ok(()),
            }
        }),
        Sent::Members(of) if is("object") => inside.map_or(Ok(()), |known| members(known, of, full)),
        Sent::Members(_) => Err(wrong(&format!("Invalid {}: an object was sent", name_of(kinds[0])), full)),
    }
}

fn text_of(parameter: &Value, kinds: &[&str], text: &str, full: &str) -> Result<(), Refused> {
    let is = |kind: &str| kinds.contains(&kind);
    let choices: Vec<_> = parameter["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if choices.contains(&text) || (is("num") && text.parse::<f64>().is_ok()) {
        return Ok(());
    }
    if text.is_empty() && !is("str") {
        let message = format!(
            "You passed an empty string for '{full}'. We assume empty values are an attempt to unset a parameter; \
             however '{full}' cannot be unset."
        );
        return Err(Refused::invalid(400, Some("parameter_invalid_empty"), &message).about(full));
    }
    match kinds[0] {
        _ if is("str") && (choices.is_empty() || choices.contains(&"…") || text.is_empty()) => Ok(()),
        _ if is("str") => Err(wrong(&format!("Invalid {full}: must be one of {}", choices.join(", ")), full)),
        _ if is("bool") && ["true", "false"].contains(&text) => Ok(()),
        "num" => {
            Err(Refused::invalid(400, Some("parameter_invalid_integer"), &format!("Invalid integer: {text}"))
                .about(full))
        }
        kind => Err(wrong(&format!("Invalid {}: {text}", name_of(kind)), full)),
    }
}

fn metadata(members: &BTreeMap<String, Sent>, full: &str) -> Result<(), Refused> {
    let fits = |(name, value): (&String, &Sent)| match value {
        Sent::Text(text) => name.chars().count() <= METADATA_KEY_MAX && text.chars().count() <= METADATA_VALUE_MAX,
        Sent::Members(_) => false,
    };
    if members.len() <= METADATA_KEYS_MAX && members.iter().all(fits) {
        return Ok(());
    }
    Err(wrong("Metadata is of 50 keys of 40 characters, with values of 500", full))
}

fn name_of(kind: &str) -> &str {
    match kind {
        "bool" => "boolean",
        "num" => "integer",
        "str" => "string",
        "map" => "object",
        other => other,
    }
}

fn wrong(message: &str, full: &str) -> Refused {
    Refused::invalid(400, None, message).about(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a parameter: `code param`.
    fn judge(call: &str, sent: &[(&str, &str)]) -> String {
        let form: Vec<_> = sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let said = |error: &Value, name: &str| error[name].as_str().unwrap_or("-").to_owned();
        check(call, &form)
            .err()
            .map_or_else(String::new, |Refused(_, it)| format!("{} {}", said(&it, "code"), said(&it, "param")))
    }

    const UPDATE: &str = "POST /v1/subscriptions/sub_1";

    #[test]
    fn what_stripe_takes_is_taken_and_nothing_else_is() {
        let taken = [
            ("items[0][id]", "si_1"),
            ("items[0][price]", "price_1"),
            ("items[0][quantity]", "2"),
            ("cancel_at", ""),
            ("cancel_at_period_end", "true"),
            ("metadata[user_id]", "user_1"),
            ("pause_collection", ""),
            ("expand[]", "customer"),
            ("expand[]", "latest_invoice"),
        ];
        assert_eq!(judge(UPDATE, &taken), "");
        for unknown in ["coupon", "items[0][amount]", "pause_collection[x]"] {
            assert_eq!(judge(UPDATE, &[(unknown, "1")]), format!("parameter_unknown {unknown}"));
        }
        assert_eq!(judge("POST /v1/payment_methods/pm_1/attach", &[]), "", "a customer or an account");
        assert_eq!(judge("GET /v1/nothing", &[]), "- -");
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_named() {
        let mode = [("mode", "subscribe")];
        assert_eq!(judge("POST /v1/checkout/sessions", &mode), "- mode");
        assert_eq!(judge("POST /v1/prices", &[]), "parameter_missing currency");
        let interval = [("currency", "usd"), ("recurring[interval_count]", "1")];
        assert_eq!(judge("POST /v1/prices", &interval), "parameter_missing recurring[interval]");
        assert_eq!(judge(UPDATE, &[("items[0][quantity]", "two")]), "parameter_invalid_integer items[0][quantity]");
        assert_eq!(judge(UPDATE, &[("cancel_at_period_end", "yes")]), "- cancel_at_period_end");
        assert_eq!(judge(UPDATE, &[("cancel_at_period_end", "")]), "parameter_invalid_empty cancel_at_period_end");
        assert_eq!(judge(UPDATE, &[("items", "si_1")]), "- items");
        assert_eq!(judge(UPDATE, &[("items[0]", "si_1")]), "- items[0]");
        assert_eq!(judge("GET /v1/events", &[("created[gte]", "now")]), "parameter_invalid_integer created[gte]");
        let long = "x".repeat(501);
        assert_eq!(judge(UPDATE, &[("metadata[a]", &long)]), "- metadata");
    }
}
