//! The audit log of a user, the newest first.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx, id_set, row};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// A change as the user sees it whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Change")]
pub struct ChangeView {
    id: String,
    at: String,
    actor: String,
    change: String,
    from: Option<String>,
    to: Option<String>,
    event_id: Option<String>,
    reason: Option<String>,
}

row! {
    /// What is shown of a row of `changes`.
    struct Shown {
        pub id: String,
        pub at: Timestamp,
        pub actor: String,
        pub change: String,
        pub from_value: Option<String>,
        pub to_value: Option<String>,
        pub event_id: Option<String>,
        pub reason: Option<String>,
        pub number: i64,
    }
}

/// Digits of the largest number: with zeros before it, texts are in the order of numbers.
const NUMBER_DIGITS: usize = 19;

impl Shown {
    /// Changes of one moment are in the order of their numbers.
    fn position(&self) -> Position {
        let Self { id, number, .. } = self;
        Position { at: self.at, id: format!("{number:0NUMBER_DIGITS$}{id}") }
    }
}

/// The number and the id in a position of this list; `None` for one of another list.
fn read(position: &Position) -> Option<(i64, &str)> {
    let (number, id) = position.id.split_at_checked(NUMBER_DIGITS)?;
    let is_ours = number.bytes().all(|digit| digit.is_ascii_digit()) && !id.is_empty();
    is_ours.then(|| number.parse().ok().map(|number| (number, id)))?
}

/// Whether a page of this list can begin after `position`.
pub fn is_position(position: &Position) -> bool {
    read(position).is_some()
}

/// A page of the audit log of `customers`. A position that is none of this list is taken for the list's beginning.
pub async fn list(tx: &mut Tx, customers: &[String], page: &Page) -> Result<List<ChangeView>, DbError> {
    let mut rows = Vec::new();
    for customer in customers {
        rows.extend(of_customer(tx, customer, page).await?);
    }
    Ok(page.merge(rows, Shown::position).map(ChangeView::from))
}

/// Changes by their ids, in the order in which they were made.
pub async fn of_ids(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<ChangeView>, DbError> {
    let rows: Vec<Shown> = tx
        .sql(
            "SELECT c.id, c.at, c.actor, c.change, c.from_value, c.to_value, c.event_id, c.reason, c.number
             FROM json_each($1) AS wanted
             JOIN changes AS c ON c.id = wanted.key
             ORDER BY c.at, c.customer_id, c.number, c.id",
        )
        .bind(id_set(ids.iter().map(String::as_str)))
        .all()
        .await?;
    Ok(rows.into_iter().map(ChangeView::from).collect())
}

/// Those of one customer that the page may show.
async fn of_customer(tx: &mut Tx, customer_id: &str, page: &Page) -> Result<Vec<Shown>, DbError> {
    let start = page.start();
    let (number, id) = read(&start).unwrap_or((i64::MAX, ""));
    tx.sql(
        "SELECT id, at, actor, change, from_value, to_value, event_id, reason, number
         FROM changes
         WHERE customer_id = $1 AND (at, number, id) < ($2, $3, $4)
         ORDER BY at DESC, number DESC, id DESC
         LIMIT $5",
    )
    .bind(customer_id)
    .bind(start.at)
    .bind(number)
    .bind(id)
    .bind(page.rows_wanted())
    .all()
    .await
}

impl From<Shown> for ChangeView {
    fn from(row: Shown) -> Self {
        Self {
            id: row.id,
            at: rfc3339(row.at),
            actor: row.actor,
            change: row.change,
            from: row.from_value,
            to: row.to_value,
            event_id: row.event_id,
            reason: row.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    #[test]
    fn only_a_position_of_a_change_is_one() {
        let at = from_unix(1_750_000_000).unwrap();
        let position = |id: &str| Position { at, id: id.to_owned() };
        assert_eq!(read(&position("0000000000000000012chg_1")), Some((12, "chg_1")));
        for id in ["", "in_1", "0000000000000000012", "00000000000000000é12chg_1", "9999999999999999999chg_1"] {
            assert!(!is_position(&position(id)), "{id}");
        }
    }
}
