//! Licences as operators see them: those that are asked for, and one with what its machines were told.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::acknowledgements::told::{self, ToldView};
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::licenses::view::HeldLicenseView;
use tollgate_shared::Timestamp;

use crate::app::App;

/// How many events of its log are shown with a licence.
const EVENTS_SHOWN: i64 = 100;

/// A licence with whose it is. In a list its key is shown as `…` and its last four characters.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnedLicense")]
pub(super) struct OwnedLicenseView {
    stripe_customer_id: String,
    #[serde(flatten)]
    license: HeldLicenseView,
}

/// One licence, with the newest events of its log and what machines said of them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WholeLicense")]
pub(super) struct WholeLicenseView {
    #[serde(flatten)]
    license: OwnedLicenseView,
    events: Vec<ToldView>,
}

/// Which licences are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// An id of a licence or a customer, a key, or an e-mail address.
    pub(super) text: Option<String>,
    /// `active`, `suspended`, `expired` or `revoked`.
    pub(super) status: Option<String>,
}

/// The newest after a position (`$1`, `$2`), at most `$3`.
macro_rules! newest {
    ($($condition:literal)?) => {
        concat!(
            "SELECT id, created_at
             FROM licenses
             WHERE (created_at, id) < ($1, $2)", $(" AND ", $condition,)?
            " ORDER BY created_at DESC, id DESC
              LIMIT $3"
        )
    };
}

const NEWEST: &str = newest!();
const NEWEST_OF_STATUS: &str = newest!("status = $4");

/// Those that a text names: by id, by key, by customer, by the customer's e-mail address.
const NAMED: [&str; 4] = [
    "SELECT id, created_at FROM licenses WHERE id = $1",
    "SELECT id, created_at FROM licenses WHERE key = $1",
    "SELECT id, created_at FROM licenses WHERE customer_id = $1",
    "SELECT licenses.id, licenses.created_at
     FROM customers
     JOIN licenses ON licenses.customer_id = customers.id
     WHERE customers.email IS NOT NULL AND lower(customers.email) = lower($1)",
];

/// One page of the licences that `filter` asks for, the newest first.
pub(super) async fn list(
    tx: &mut Tx,
    app: &App,
    filter: &Filter,
    page: &Page,
) -> Result<List<OwnedLicenseView>, DbError> {
    let rows = match filter.text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => named(tx, text, page).await?,
        None => newest(tx, filter, page).await?,
    };
    let found = page.merge(rows, |(id, at)| Position { at: *at, id: id.clone() });
    let ids: BTreeSet<String> = found.data.iter().map(|(id, _)| id.clone()).collect();
    let rows: Vec<License> = tx.load("id", &ids, Lock::None).await?;
    let machines = machines::in_seats_of(tx, &ids, Lock::None).await?;
    let view = |(id, _): (String, Timestamp)| {
        let row = rows.iter().find(|row| row.id == id)?;
        let has_status = filter.status.as_ref().is_none_or(|status| *status == row.status);
        has_status.then(|| {
            let shown = License { key: last_four(&row.key), ..row.clone() };
            OwnedLicenseView::of(app, &shown, machines.iter().filter(|machine| machine.license_id == id))
        })
    };
    let List { data, has_more, next_cursor } = found;
    Ok(List { data: data.into_iter().filter_map(view).collect(), has_more, next_cursor })
}

async fn newest(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Vec<(String, Timestamp)>, DbError> {
    let Position { at, id } = page.start();
    let query = tx.sql(if filter.status.is_some() { NEWEST_OF_STATUS } else { NEWEST });
    let query = query.bind(at).bind(id).bind(page.rows_wanted());
    match &filter.status {
        Some(status) => query.bind(status.as_str()).all().await,
        None => query.all().await,
    }
}

/// Of what a text names there are a few at most.
async fn named(tx: &mut Tx, text: &str, page: &Page) -> Result<Vec<(String, Timestamp)>, DbError> {
    let key = LicenseKey::parse(text);
    let text = key.as_ref().map_or(text, LicenseKey::expose);
    let start = page.start();
    let mut found = BTreeSet::new();
    for sql in NAMED {
        let rows: Vec<(String, Timestamp)> = tx.sql(sql).bind(text).all().await?;
        found.extend(rows.into_iter().filter(|(id, at)| (*at, id) < (start.at, &start.id)));
    }
    Ok(found.into_iter().collect())
}

/// One licence, with its key.
pub(super) async fn find(tx: &mut Tx, app: &App, id: &str) -> Result<Option<WholeLicenseView>, DbError> {
    let ids = BTreeSet::from([id.to_owned()]);
    let Some(row) = tx.load::<License>("id", &ids, Lock::None).await?.pop() else { return Ok(None) };
    let machines = machines::in_seats_of(tx, &ids, Lock::None).await?;
    let events = told::newest_of(tx, id, EVENTS_SHOWN).await?;
    Ok(Some(WholeLicenseView { license: OwnedLicenseView::of(app, &row, &machines), events }))
}

impl OwnedLicenseView {
    fn of<'m>(app: &App, row: &License, machines: impl IntoIterator<Item = &'m Machine>) -> Self {
        let (now, stale_after) = (app.clock.now(), app.settings.machines_stale_after);
        let license = HeldLicenseView::of(row, &app.settings.plans, machines, now, stale_after);
        Self { stripe_customer_id: row.customer_id.clone(), license }
    }
}

/// Enough of a key to tell it from another one by its holder's word.
fn last_four(key: &str) -> String {
    let start = key.char_indices().rev().nth(3).map_or(0, |(index, _)| index);
    format!("…{}", &key[start..])
}

#[cfg(test)]
mod tests {
    use tollgate_db::Engine;
    use tollgate_db::testing::block_on;

    use super::*;
    use crate::schema::testing::migrated;

    #[test]
    fn every_list_of_licences_goes_by_an_index_on_both_engines() {
        block_on(async {
            let statements: Vec<_> =
                [NEWEST, NEWEST_OF_STATUS].iter().chain(&NAMED).map(|sql| (*sql).to_owned()).collect();
            for engine in [Engine::Sqlite, Engine::Postgres] {
                let database = migrated(engine).await;
                assert_eq!(database.refused(&statements).await, []);
                assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
            }
        });
    }

    #[test]
    fn a_list_shows_the_last_four_characters_of_a_key() {
        assert_eq!(last_four("AAAAA-BBBBB-CCCCC-DDDDD-EFGHJ"), "…FGHJ");
        assert_eq!(last_four("é"), "…é");
    }
}
