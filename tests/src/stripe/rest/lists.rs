//! Lists, page by page: the newest first, from the object that a call names, of those that were made when it says.

use serde_json::{Value, json};

use super::refused::{Answer, Refused};
use super::{Asked, form};
use crate::stripe::model::Price;
use crate::stripe::shape::{self, ApiVersion};
use crate::stripe::{BEGINNING, DAY, Object, Stripe};

const LIMIT: usize = 10;
const LIMIT_MAX: usize = 100;

/// For how long Stripe lists an event, in days.
const EVENT_DAYS: i64 = 30;
/// The version that the account had when its events were made.
const ACCOUNT_VERSION: ApiVersion = ApiVersion::Endive;

/// What is in a list.
pub(super) struct Listed<T> {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) what: T,
}

/// One page of `rows`, which are of one kind, and in the order in which they were made where that is within one second.
pub(super) fn page<T>(
    asked: &Asked,
    url: &str,
    rows: impl Iterator<Item = Listed<T>>,
    show: impl Fn(T) -> Answer,
) -> Answer {
    let bound = |name: &str| asked.value(name).and_then(|value| value.parse::<i64>().ok());
    let (from, to) = (bound("created[gte]"), bound("created[lte]"));
    let (after, before) = (bound("created[gt]"), bound("created[lt]"));
    let at = bound("created");
    let is_of_then = |row: &Listed<T>| {
        from.is_none_or(|from| row.created >= from)
            && to.is_none_or(|to| row.created <= to)
            && after.is_none_or(|after| row.created > after)
            && before.is_none_or(|before| row.created < before)
            && at.is_none_or(|at| row.created == at)
    };
    let limit = bound("limit").unwrap_or(LIMIT as i64);
    if !(1..=LIMIT_MAX as i64).contains(&limit) {
        let message = format!("This value must be from 1 to {LIMIT_MAX}.");
        return Err(Refused::invalid(400, Some("parameter_invalid_integer"), &message).about("limit"));
    }
    let mut rows: Vec<_> = rows.filter(is_of_then).collect();
    rows.sort_by_key(|row| row.created);
    rows.reverse();
    let place = |param: &str| {
        asked.value(param).map(|id| {
            let place = rows.iter().position(|row| row.id == id);
            place.ok_or_else(|| Refused::no_such_value("object", id, param))
        })
    };
    let limit = limit as usize;
    let (range, has_more) = match (place("starting_after").transpose()?, place("ending_before").transpose()?) {
        (_, Some(end)) => (end.saturating_sub(limit)..end, end > limit),
        (start, None) => {
            let start = start.map_or(0, |place| place + 1);
            let end = (start + limit).min(rows.len());
            (start..end, end < rows.len())
        }
    };
    let data = rows.drain(range).map(|row| show(row.what)).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "object": "list", "url": url, "has_more": has_more, "data": data }))
}

impl Stripe {
    /// One page of objects.
    pub(super) fn list<'a, T: Clone + Into<Object> + 'a>(
        &self,
        asked: &Asked,
        url: &str,
        version: ApiVersion,
        rows: impl Iterator<Item = (&'a T, i64)>,
    ) -> Answer {
        let rows = rows.map(|(row, created)| {
            let what: Object = row.clone().into();
            Listed { id: what.id().to_owned(), created, what }
        });
        page(asked, url, rows, |object| self.show(Some(object), version))
    }

    /// One page of what happened in the last 30 days, each in the shape that it was made in.
    pub(super) fn events_list(&self, asked: &Asked) -> Answer {
        let types: Vec<_> = form::list(&asked.form, "types").into_iter().chain(asked.value("type")).collect();
        let is_wanted = |event_type: &str| {
            let is_one = |wanted: &&str| {
                wanted.strip_suffix('*').map_or(*wanted == event_type, |start| event_type.starts_with(start))
            };
            types.is_empty() || types.iter().any(is_one)
        };
        let wanted = self.occurrences.iter().filter(|occurrence| {
            occurrence.created > self.now - EVENT_DAYS * DAY
                && is_wanted(occurrence.event_type)
                && ACCOUNT_VERSION.has(occurrence.event_type)
        });
        let rows = wanted.map(|what| Listed { id: what.id.clone(), created: what.created, what });
        page(asked, "/v1/events", rows, |occurrence| Ok(occurrence.event(ACCOUNT_VERSION).json()))
    }

    /// One event.
    pub(super) fn event(&self, id: &str) -> Answer {
        let found = self.occurrences.iter().find(|occurrence| occurrence.id == id);
        Ok(found.ok_or_else(|| Refused::no_such("event", id))?.event(ACCOUNT_VERSION).json())
    }

    /// One page of prices.
    pub(super) fn prices_list(&self, asked: &Asked) -> Answer {
        let keys = form::list(&asked.form, "lookup_keys");
        let found = self.prices.iter().filter(|price| {
            (keys.is_empty() || self.lookup_key_of(price).is_some_and(|key| keys.contains(&key)))
                && asked.value("product").is_none_or(|product| price.product == product)
                && asked.value("currency").is_none_or(|currency| price.currency == currency)
                && asked.value("type").is_none_or(|kind| (kind == "recurring") == price.interval.name().is_some())
                && asked.value("active") != Some("false")
        });
        let rows = found.map(|what| Listed { id: what.id.to_owned(), created: BEGINNING, what });
        page(asked, "/v1/prices", rows, |price| Ok(self.show_price(price)))
    }

    /// A price with the lookup key that it has now.
    pub(super) fn show_price(&self, price: &Price) -> Value {
        shape::price(price, self.lookup_key_of(price))
    }
}
