//! What templates do with values: amounts, dates and times.

use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::{Environment, Error, ErrorKind, State};

use super::money;

/// A day, as English has it: `31 January 2027`.
const DATE: &str = "%-d %B %Y";
/// A moment: with the zone that it is in.
const TIME: &str = "%-d %B %Y, %H:%M %Z";

/// Adds them. What is not there is shown as nothing.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("money", of_money);
    environment.add_filter("date", |state: &State, at: Option<String>, format: Option<String>| {
        in_zone(state, at, format.as_deref().unwrap_or(DATE))
    });
    environment.add_filter("time", |state: &State, at: Option<String>, format: Option<String>| {
        in_zone(state, at, format.as_deref().unwrap_or(TIME))
    });
}

/// `{{ amount|money(currency) }}`; other languages say what stands between digits: `money(currency, ",", ".")`.
fn of_money(amount: Option<i64>, currency: Option<String>, decimal: Option<String>, group: Option<String>) -> String {
    let (Some(amount), Some(currency)) = (amount, currency) else { return String::new() };
    money::text(amount, &currency, decimal.as_deref().unwrap_or("."), group.as_deref().unwrap_or(","))
}

/// A moment in RFC 3339 in the reader's zone, by a format of `strftime`.
fn in_zone(state: &State, at: Option<String>, format: &str) -> Result<String, Error> {
    let wrong = |what: &'static str| Error::new(ErrorKind::InvalidOperation, what);
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        return Err(wrong("not a format of times"));
    }
    let Some(at) = at else { return Ok(String::new()) };
    let at: DateTime<Utc> = at.parse().map_err(|_| wrong("not a time"))?;
    let zone = state.lookup("timezone");
    let zone: Tz = zone.and_then(|name| name.as_str()?.parse().ok()).unwrap_or(Tz::UTC);
    let mut text = String::new();
    // Some formats can only be read by: what is made of those fails, where `to_string` would panic.
    write!(text, "{}", at.with_timezone(&zone).format_with_items(items.iter()))
        .map_err(|_| wrong("not a format of times"))?;
    Ok(text)
}
