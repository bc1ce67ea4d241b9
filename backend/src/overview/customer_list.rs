//! Customers by what is asked for, and what a list shows of each.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx, record};
use tollgate_domain::customers::name_key;
use tollgate_domain::invoices::view::totals_of;
use tollgate_domain::licenses::License;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// A customer in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomerSummary")]
pub(super) struct CustomerSummary {
    stripe_customer_id: String,
    user_id: Option<String>,
    email: Option<String>,
    name: Option<String>,
    tier: String,
    /// Stripe's status of the current subscription.
    status: Option<String>,
    plan_id: Option<String>,
    current_period_end: Option<String>,
    total_paid: i64,
    currency: Option<String>,
    license_status: Option<String>,
    /// When it was first heard of.
    created_at: String,
}

/// Which customers are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// An id of Stripe's, a user's, an e-mail address, or how a name begins.
    pub(super) text: Option<String>,
    /// What they may use.
    pub(super) tier: Option<String>,
    /// Stripe's status of their current subscription.
    pub(super) status: Option<String>,
}

record! {
    /// What a list shows of a customer's row.
    struct Row in "customers" {
        pub id: String,
        pub user_id: Option<String>,
        pub email: Option<String>,
        pub name: Option<String>,
        pub tier: String,
        pub current_subscription_id: Option<String>,
        pub first_seen_at: Timestamp,
    }
}

record! {
    /// What a list shows of a customer's current subscription.
    struct Current in "subscriptions" {
        pub id: String,
        pub status: Option<String>,
        pub plan_id: Option<String>,
        pub current_period_end: Option<Timestamp>,
    }
}

/// The newest after a position (`$1`, `$2`), at most `$3`. A condition names its parameter, from `$4` on.
macro_rules! newest {
    ($($condition:literal)?) => {
        concat!(
            "SELECT id, first_seen_at, id AS place
             FROM customers
             WHERE (first_seen_at, id) < ($1, $2)", $(" AND ", $condition,)?
            " ORDER BY first_seen_at DESC, id DESC
              LIMIT $3"
        )
    };
    // By the subscription that each has now, in the order in which those were first heard of. What has to be so of the customer
    // is asked row by row: a planner takes a join of the two for one of few rows, and puts all of them in order first.
    (by subscription $(, $condition:literal)?) => {
        concat!(
            "SELECT s.customer_id AS id, s.first_seen_at, s.id AS place
             FROM subscriptions AS s
             WHERE s.status = $4 AND (s.first_seen_at, s.id) < ($1, $2)
               AND s.id = (SELECT c.current_subscription_id FROM customers AS c WHERE c.id = s.customer_id)",
            $(" AND ", $condition,)?
            " ORDER BY s.first_seen_at DESC, s.id DESC
              LIMIT $3"
        )
    };
}

const NEWEST: &str = newest!();
const NEWEST_OF_TIER: &str = newest!("tier = $4");
const NEWEST_OF_STATUS: &str = newest!(by subscription);
const NEWEST_OF_BOTH: &str =
    newest!(by subscription, "$5 = (SELECT c.tier FROM customers AS c WHERE c.id = s.customer_id)");

/// Those whose very id, user or e-mail address is looked for.
const NAMED: [&str; 3] = [
    "SELECT id FROM customers WHERE id = $1",
    "SELECT id FROM customers WHERE user_id = $1 ORDER BY id LIMIT 100",
    "SELECT id FROM customers WHERE email IS NOT NULL AND lower(email) = lower($1) ORDER BY id LIMIT 100",
];

/// Those whose name begins so (`$1`, and `$2` after all that does), in its order after another name and id (`$3`, `$4`), at
/// most `$5`. A condition names its parameter, from `$6` on.
macro_rules! by_name {
    ($from:literal $(, $condition:literal)*) => {
        concat!(
            "SELECT c.id, c.name_key FROM ", $from,
            " WHERE c.name_key >= $1 AND c.name_key <= $2 AND (c.name_key, c.id) > ($3, $4)", $(" AND ", $condition,)*
            " ORDER BY c.name_key, c.id
              LIMIT $5"
        )
    };
    // All of few are looked at, and only those put in order.
    (of few $from:literal $(, $condition:literal)*) => {
        concat!(
            "SELECT c.id, c.name_key FROM ", $from,
            " WHERE c.name_key || '' >= $1 AND c.name_key || '' <= $2 AND (c.name_key || '', c.id) > ($3, $4)",
            $(" AND ", $condition,)*
            " ORDER BY c.name_key || '', c.id
              LIMIT $5"
        )
    };
}

const BY_NAME: &str = by_name!("customers AS c");
const BY_NAME_OF_TIER: &str = by_name!("customers AS c", "c.tier || '' = $6");
const BY_NAME_OF_STATUS: &str =
    by_name!("customers AS c", "$6 = (SELECT s.status FROM subscriptions AS s WHERE s.id = c.current_subscription_id)");
const BY_NAME_OF_BOTH: &str = by_name!(
    "customers AS c",
    "$6 = (SELECT s.status FROM subscriptions AS s WHERE s.id = c.current_subscription_id)",
    "c.tier || '' = $7"
);
const BY_NAME_OF_FEW_OF_TIER: &str = by_name!(of few "customers AS c", "c.tier = $6");
const BY_NAME_OF_FEW_OF_STATUS: &str = by_name!(
    of few "subscriptions AS s JOIN customers AS c ON c.id = s.customer_id",
    "s.status = $6",
    "c.current_subscription_id = s.id"
);
const BY_NAME_OF_FEW_OF_BOTH: &str = by_name!(
    of few "subscriptions AS s JOIN customers AS c ON c.id = s.customer_id",
    "s.status = $6",
    "c.current_subscription_id = s.id",
    "c.tier || '' = $7"
);

/// The statements by what many have, each with that by what few have.
#[cfg(test)]
pub(super) const OF_MANY_AND_FEW: [[&str; 2]; 3] = [
    [BY_NAME_OF_TIER, BY_NAME_OF_FEW_OF_TIER],
    [BY_NAME_OF_STATUS, BY_NAME_OF_FEW_OF_STATUS],
    [BY_NAME_OF_BOTH, BY_NAME_OF_FEW_OF_BOTH],
];

/// How many customers are looked at one by one. Where more are of a status or a tier, some are soon found among those of a name.
const FEW: i64 = 5_000;

/// How many there are of a status or a tier (`$1`), counted to `$2`.
const COUNT_OF_STATUS: &str =
    "SELECT count(*) FROM (SELECT id FROM subscriptions WHERE status = $1 LIMIT $2) AS counted";
const COUNT_OF_TIER: &str = "SELECT count(*) FROM (SELECT id FROM customers WHERE tier = $1 LIMIT $2) AS counted";

/// Behind every name in the order of bytes.
pub(super) const LAST_CHARACTER: char = '\u{10FFFF}';

/// One page of the customers that `filter` asks for: the newest first, or where a text is looked for those that it names
/// and then by their names. None where the page begins at a place of another list.
pub(super) async fn list(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Option<List<CustomerSummary>>, DbError> {
    let found = match filter.text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        None => newest(tx, filter, page).await?,
        Some(text) => match by_text(tx, text, filter, page).await? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let List { data, has_more, next_cursor } = found;
    let mut shown = summaries(tx, &data.iter().map(|(id, ..)| id.clone()).collect()).await?;
    let data = data.into_iter().filter_map(|(id, ..)| shown.remove(&id)).collect();
    Ok(Some(List { data, has_more, next_cursor }))
}

/// A customer's id, and where it stands in its list.
type Found = (String, Timestamp, String);

async fn newest(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<Found>, DbError> {
    let Position { at, id } = page.start();
    let query = tx.sql(statement(filter)).bind(at).bind(id).bind(page.rows_wanted());
    let query = match (&filter.status, &filter.tier) {
        (None, None) => query,
        (Some(only), None) | (None, Some(only)) => query.bind(only.as_str()),
        (Some(status), Some(tier)) => query.bind(status.as_str()).bind(tier.as_str()),
    };
    let rows: Vec<Found> = query.all().await?;
    Ok(page.list(rows, position))
}

/// Each goes by one index from its first row to its last.
fn statement(filter: &Filter) -> &'static str {
    match (&filter.status, &filter.tier) {
        (None, None) => NEWEST,
        (None, Some(_)) => NEWEST_OF_TIER,
        (Some(_), None) => NEWEST_OF_STATUS,
        (Some(_), Some(_)) => NEWEST_OF_BOTH,
    }
}

/// A list that is not in the order of time: a position of it is of this time.
const BY_TEXT: Timestamp = Timestamp::UNIX_EPOCH;

async fn by_text(tx: &mut Tx, text: &str, filter: &Filter, page: &Page) -> Result<Option<List<Found>>, DbError> {
    if page.after.as_ref().is_some_and(|after| after.at != BY_TEXT) {
        return Ok(None);
    }
    let after = page.after.as_ref().map(|after| &*after.id);
    let named = named(tx, text).await?;
    // How many of those that are named were on pages before; all of them, where the page begins among the others.
    let seen = match after {
        None => Some(0),
        Some(after) => named.iter().position(|id| id == after).map(|index| index + 1),
    };
    let mut kept = fitting(tx, named[seen.unwrap_or(named.len())..].to_vec(), filter).await?;
    let mut last = (String::new(), String::new());
    if let (None, Some(after)) = (seen, after) {
        let Some(name) = name_of(tx, after).await? else { return Ok(Some(page.list(Vec::new(), position))) };
        last = (name, after.to_owned());
    }
    // Those that are named have their places before.
    let room = page.rows_wanted() + named.len() as i64;
    let others = by_name(tx, &name_key(text), &last, room, filter).await?;
    kept.extend(others.into_iter().filter(|id| !named.contains(id)));
    kept.truncate(page.limit + 1);
    let found = kept.into_iter().map(|id| (id.clone(), BY_TEXT, id)).collect();
    Ok(Some(page.list(found, position)))
}

fn position((_, at, place): &Found) -> Position {
    Position { at: *at, id: place.clone() }
}

/// Those whose name begins with `prefix`, after one of a name and id.
async fn by_name(
    tx: &mut Tx,
    prefix: &str,
    (name, id): &(String, String),
    limit: i64,
    filter: &Filter,
) -> Result<Vec<String>, DbError> {
    let sql = match (&filter.status, &filter.tier) {
        (None, None) => BY_NAME,
        (None, Some(tier)) if are_few(tx, COUNT_OF_TIER, tier).await? => BY_NAME_OF_FEW_OF_TIER,
        (None, Some(_)) => BY_NAME_OF_TIER,
        (Some(status), None) if are_few(tx, COUNT_OF_STATUS, status).await? => BY_NAME_OF_FEW_OF_STATUS,
        (Some(_), None) => BY_NAME_OF_STATUS,
        (Some(status), Some(_)) if are_few(tx, COUNT_OF_STATUS, status).await? => BY_NAME_OF_FEW_OF_BOTH,
        (Some(_), Some(_)) => BY_NAME_OF_BOTH,
    };
    let query = tx.sql(sql).bind(prefix).bind(format!("{prefix}{LAST_CHARACTER}"));
    let query = query.bind(name.as_str()).bind(id.as_str()).bind(limit);
    let query = filter.status.iter().chain(&filter.tier).fold(query, |query, only| query.bind(only.as_str()));
    let rows: Vec<(String, String)> = query.all().await?;
    Ok(rows.into_iter().map(|(id, _)| id).collect())
}

async fn are_few(tx: &mut Tx, count: &'static str, only: &str) -> Result<bool, DbError> {
    let (count,): (i64,) = tx.sql(count).bind(only).bind(FEW).one().await?;
    Ok(count < FEW)
}

/// The customers that a text names, by their ids.
pub(super) async fn named(tx: &mut Tx, text: &str) -> Result<Vec<String>, DbError> {
    let mut named = BTreeSet::new();
    for sql in NAMED {
        let rows: Vec<(String,)> = tx.sql(sql).bind(text).all().await?;
        named.extend(rows.into_iter().map(|(id,)| id));
    }
    Ok(named.into_iter().collect())
}

async fn name_of(tx: &mut Tx, id: &str) -> Result<Option<String>, DbError> {
    let sql = "SELECT name_key FROM customers WHERE id = $1 AND name_key IS NOT NULL";
    let row: Option<(String,)> = tx.sql(sql).bind(id).optional().await?;
    Ok(row.map(|(name,)| name))
}

/// Those of `ids` that have the tier and the status that are asked for, in their order.
async fn fitting(tx: &mut Tx, ids: Vec<String>, filter: &Filter) -> Result<Vec<String>, DbError> {
    if filter.tier.is_none() && filter.status.is_none() {
        return Ok(ids);
    }
    let shown = summaries(tx, &ids.iter().cloned().collect()).await?;
    let fits = |id: &String| {
        let row = shown.get(id)?;
        let has_tier = filter.tier.as_ref().is_none_or(|tier| *tier == row.tier);
        let has_status = filter.status.is_none() || filter.status == row.status;
        (has_tier && has_status).then_some(())
    };
    Ok(ids.into_iter().filter(|id| fits(id).is_some()).collect())
}

/// What lists show of these customers.
async fn summaries(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<BTreeMap<String, CustomerSummary>, DbError> {
    let rows: Vec<Row> = tx.load("id", ids, Lock::None).await?;
    let current = rows.iter().filter_map(|row| row.current_subscription_id.clone()).collect();
    let current: Vec<Current> = tx.load("id", &current, Lock::None).await?;
    let current: BTreeMap<_, _> = current.into_iter().map(|row| (row.id.clone(), row)).collect();
    let licenses: Vec<License> = tx.load("customer_id", ids, Lock::None).await?;
    let licenses: BTreeMap<_, _> = licenses.into_iter().map(|row| (row.customer_id.clone(), row)).collect();
    let totals = totals_of(tx, ids).await?;
    let summary = |row: Row| {
        let current = row.current_subscription_id.as_ref().and_then(|id| current.get(id));
        let license = licenses.get(&row.id);
        let (total_paid, currency) = totals.get(&row.id).cloned().unwrap_or_default();
        let of_license = || license.and_then(|license| license.plan_id.clone());
        let shown = CustomerSummary {
            stripe_customer_id: row.id.clone(),
            user_id: row.user_id,
            email: row.email,
            name: row.name,
            tier: row.tier,
            status: current.and_then(|row| row.status.clone()),
            plan_id: current.and_then(|row| row.plan_id.clone()).or_else(of_license),
            current_period_end: current.and_then(|row| row.current_period_end).map(rfc3339),
            total_paid,
            currency,
            license_status: license.map(|license| license.status.clone()),
            created_at: rfc3339(row.first_seen_at),
        };
        (row.id, shown)
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// The statements whose texts are put together, for the test that looks at how engines carry them out.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 13] = [
    NEWEST,
    NEWEST_OF_TIER,
    NEWEST_OF_STATUS,
    NEWEST_OF_BOTH,
    NAMED[0],
    NAMED[1],
    NAMED[2],
    BY_NAME,
    BY_NAME_OF_TIER,
    BY_NAME_OF_STATUS,
    BY_NAME_OF_BOTH,
    COUNT_OF_STATUS,
    COUNT_OF_TIER,
];
