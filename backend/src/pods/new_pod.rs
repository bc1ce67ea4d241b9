//! What a new pod is to be, as it is asked for.

use chrono::{Duration, SubsecRound as _};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use tollgate_domain::pods::NewPod;
use tollgate_domain::pods::schedule::Cadence;
use tollgate_shared::Timestamp;

use crate::http::error::ApiError;
use crate::http::query::{self, A_TIME};

const NAME_CHARACTERS_MAX: usize = 100;
const DESCRIPTION_CHARACTERS_MAX: usize = 2000;
const MEMBERS_MAX: i64 = 1000;
const CONTRIBUTIONS_MAX: i64 = 500;
const GRACE_DAYS_MAX: i64 = 30;
const GRACE_DAYS: i64 = 7;

/// A body of `POST /api/pods`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NewPod")]
pub(super) struct Create {
    name: String,
    amount: i64,
    currency: String,
    cadence: String,
    first_contribution_date: String,
    max_members: i64,
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<i64>")]
    contributions_total: Given<i64>,
    grace_days: Option<i64>,
    visibility: Option<String>,
    description: Option<String>,
}

/// What may be left out, and may be null.
#[derive(Default)]
pub(super) enum Given<T> {
    /// It was left out.
    #[default]
    Nothing,
    /// Null is none.
    Value(Option<T>),
}

/// Reads a member that may be null.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(json: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(json).map(Given::Value)
}

impl Create {
    /// What is asked for at `now`; 422 with the first member that is not what it should be.
    pub(super) fn readable(self, now: Timestamp) -> Result<NewPod, ApiError> {
        let within = |name: &'static str, value: i64, min: i64, max: i64| {
            let message = || format!("`{name}` has to be a number from {min} to {max}");
            (min..=max).contains(&value).then_some(value).ok_or_else(|| ApiError::invalid_parameter(name, message()))
        };
        let members_max = within("maxMembers", self.max_members, 2, MEMBERS_MAX)?;
        let contributions_total = match self.contributions_total {
            Given::Nothing => Some(members_max),
            Given::Value(None) => None,
            Given::Value(Some(total)) => Some(within("contributionsTotal", total, 1, CONTRIBUTIONS_MAX)?),
        };
        Ok(NewPod {
            name: name(&self.name)?,
            description: self.description.map(|text| description(&text)).transpose()?.flatten(),
            is_public: self.visibility.as_deref().map_or(Ok(true), is_public)?,
            amount: within("amount", self.amount, 1, i64::MAX)?,
            currency: currency(&self.currency)?,
            cadence: Cadence::named(&self.cadence).ok_or_else(|| {
                ApiError::invalid_parameter("cadence", "`cadence` has to be `weekly`, `bi-weekly` or `monthly`")
            })?,
            contributions_total,
            first_date: date("firstContributionDate", &self.first_contribution_date, now)?,
            grace_days: within("graceDays", self.grace_days.unwrap_or(GRACE_DAYS), 0, GRACE_DAYS_MAX)?,
            members_max,
        })
    }
}

/// What a pod is called.
pub(super) fn name(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let is_readable = (1..=NAME_CHARACTERS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let message = "`name` has to have 1 to 100 characters, without control characters";
    is_readable.then(|| text.to_owned()).ok_or_else(|| ApiError::invalid_parameter("name", message))
}

/// What it is for; blank is nothing.
pub(super) fn description(text: &str) -> Result<Option<String>, ApiError> {
    let text = text.trim();
    let is_readable = text.chars().count() <= DESCRIPTION_CHARACTERS_MAX && !text.contains('\0');
    let message = format!("`description` has at most {DESCRIPTION_CHARACTERS_MAX} characters");
    let text = Some(text.to_owned()).filter(|text| !text.is_empty());
    is_readable.then_some(text).ok_or_else(|| ApiError::invalid_parameter("description", message))
}

/// Whether anybody may find it.
pub(super) fn is_public(visibility: &str) -> Result<bool, ApiError> {
    match visibility {
        "public" => Ok(true),
        "private" => Ok(false),
        _ => Err(ApiError::invalid_parameter("visibility", "`visibility` has to be `public` or `private`")),
    }
}

/// A currency's code, in lower case.
pub(super) fn currency(code: &str) -> Result<String, ApiError> {
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    let message = "`currency` has to be the code of a currency such as `ngn`";
    is_code.then(|| code.to_ascii_lowercase()).ok_or_else(|| ApiError::invalid_parameter("currency", message))
}

/// A date on which members pay: an hour to a year after `now`, in whole seconds, as Stripe counts.
pub(super) fn date(param: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let not_a_time = || ApiError::invalid_parameter(param, format!("`{param}` has to be {A_TIME}"));
    let at = query::time(text).ok_or_else(not_a_time)?.trunc_subsecs(0);
    let is_near = (now + Duration::hours(1)..=now + Duration::days(366)).contains(&at);
    let message = format!("`{param}` has to be an hour to a year from now");
    is_near.then_some(at).ok_or_else(|| ApiError::invalid_parameter(param, message))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json};
    use tollgate_shared::clock::{from_unix, rfc3339};

    use super::*;

    fn now() -> Timestamp {
        from_unix(1_750_000_000).unwrap()
    }

    fn body() -> Value {
        json!({
            "name": " Ajo ", "amount": 5000, "currency": "NGN", "cadence": "monthly",
            "firstContributionDate": rfc3339(now() + Duration::days(30)), "maxMembers": 12,
        })
    }

    fn read(name: &str, value: Value) -> Result<NewPod, Option<String>> {
        let mut body = body();
        body[name] = value;
        let create: Create = serde_json::from_value(body).map_err(|_| Some("json".to_owned()))?;
        create.readable(now()).map_err(|error| error.param.map(Cow::into_owned))
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let pod = read("visibility", Value::Null).unwrap();
        assert_eq!((&*pod.name, &*pod.currency, pod.is_public), ("Ajo", "ngn", true));
        assert_eq!((pod.contributions_total, pod.grace_days, pod.description), (Some(12), 7, None));
        assert_eq!(read("contributionsTotal", Value::Null).unwrap().contributions_total, None);
        assert_eq!(read("contributionsTotal", json!(3)).unwrap().contributions_total, Some(3));
    }

    #[test]
    fn what_a_pod_cannot_be_is_refused_by_name() {
        let time = |ahead: Duration| json!(rfc3339(now() + ahead));
        for (param, bad) in [
            ("name", json!("  ")),
            ("name", json!("x".repeat(101))),
            ("amount", json!(0)),
            ("amount", json!(-5)),
            ("currency", json!("naira")),
            ("currency", json!("n1n")),
            ("cadence", json!("daily")),
            ("firstContributionDate", time(Duration::minutes(59))),
            ("firstContributionDate", time(Duration::days(367))),
            ("firstContributionDate", json!("tomorrow")),
            ("maxMembers", json!(1)),
            ("maxMembers", json!(1001)),
            ("contributionsTotal", json!(0)),
            ("contributionsTotal", json!(501)),
            ("graceDays", json!(-1)),
            ("graceDays", json!(31)),
            ("visibility", json!("secret")),
        ] {
            assert_eq!(read(param, bad.clone()).unwrap_err().as_deref(), Some(param), "{bad}");
        }
        for (param, good) in [("graceDays", json!(0)), ("firstContributionDate", time(Duration::hours(1)))] {
            assert!(read(param, good).is_ok(), "{param}");
        }
    }
}
