//! Whatever an operator has in hand: an id, a key, an address, the start of a name.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx, id_set, row};
use tollgate_domain::customers::name_key;
use tollgate_domain::licenses::key::LicenseKey;

use super::customer_list::{LAST_CHARACTER, named};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::query::Query;

#[cfg(test)]
mod tests;

/// How much is found at most.
const FOUND_MAX: usize = 20;

/// The longest text that is looked for, in characters: an event's id. Nothing that is stored to be found is longer.
const TEXT_CHARACTERS_MAX: usize = 255;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let text = "An id of ours or of Stripe's, a user's or a request's, a licence key, an e-mail address, or how a name begins.";
    vec![
        endpoint!(search, "What a text names, and customers whose names begin so: 20 at most")
            .takes([query("q", text).required()]),
    ]
}

/// What was found, the exact first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SearchResults")]
struct Results {
    data: Vec<ResultView>,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SearchResult")]
struct ResultView {
    /// What it is: `customer`, `invoice`, `machine` ….
    r#type: String,
    id: String,
    title: String,
    /// The page of the console that shows it, or whose it is.
    url: String,
}

#[get("/api/admin/search")]
async fn search(_operator: Operator, query: Query, app: &State<App>) -> Result<Json<Results>, ApiError> {
    let readable = |text: &str| {
        let text = text.trim();
        let is_readable = (1..=TEXT_CHARACTERS_MAX).contains(&text.chars().count()) && !text.contains('\0');
        is_readable.then(|| text.to_owned())
    };
    let what = "what is looked for, in 1 to 255 characters";
    let missing = || ApiError::invalid_parameter("q", format!("`q` has to be {what}"));
    let text = query.read("q", what, readable)?.ok_or_else(missing)?;
    let data = found(&mut app.read_list().await?, &text).await?;
    Ok(Json(Results { data }))
}

row! {
    /// Something that was found.
    struct Found {
        r#type: String,
        id: String,
        title: Option<String>,
        /// What shows it: a customer, a licence, a pod; itself where that is not said.
        owner_id: Option<String>,
    }
}

/// What an id names, whatever it is an id of: each a look at one index.
const BY_ID: &str = "\
    SELECT 'event' AS type, id, type AS title, CAST(NULL AS TEXT) AS owner_id FROM webhook_events WHERE id = $1
    UNION ALL
    SELECT 'subscription', id, status, customer_id FROM subscriptions WHERE id = $1
    UNION ALL
    SELECT 'invoice', id, status, customer_id FROM invoices WHERE id = $1
    UNION ALL
    SELECT 'payment', id, status, customer_id FROM payments WHERE id = $1 AND kind <> 'invoice'
    UNION ALL
    SELECT 'charge', id, belongs_to, customer_id FROM charges WHERE id = $1
    UNION ALL
    SELECT 'payment_method', id, brand, customer_id FROM payment_methods WHERE id = $1
    UNION ALL
    SELECT 'license', id, status, CAST(NULL AS TEXT) FROM licenses WHERE id = $1
    UNION ALL
    SELECT 'license', id, status, CAST(NULL AS TEXT) FROM licenses WHERE key = $2
    UNION ALL
    SELECT 'machine', id, name, license_id FROM machines WHERE id = $1
    UNION ALL
    SELECT 'machine', machines.id, machines.name, machines.license_id
    FROM sessions JOIN machines ON machines.id = sessions.machine_id
    WHERE sessions.id = $1
    UNION ALL
    SELECT 'license_event', id, type, license_id FROM license_events WHERE id = $1
    UNION ALL
    SELECT 'api_key', id, prefix, customer_id FROM api_keys WHERE id = $1
    UNION ALL
    SELECT 'widget', id, name, customer_id FROM widgets WHERE id = $1
    UNION ALL
    SELECT 'change', id, change, customer_id FROM changes WHERE id = $1
    UNION ALL
    SELECT 'pod', id, name, CAST(NULL AS TEXT) FROM pods WHERE id = $1
    UNION ALL
    SELECT 'membership', id, user_id, pod_id FROM memberships WHERE id = $1
    UNION ALL
    SELECT 'contribution', id, status, pod_id FROM contributions WHERE id = $1
    UNION ALL
    SELECT 'payout', id, reference, pod_id FROM payouts WHERE id = $1
    UNION ALL
    SELECT 'dead_letter', id, reason, event_id FROM dead_letters WHERE id = $1
    UNION ALL
    SELECT 'act', id, action, target_id FROM operator_acts WHERE id = $1
    UNION ALL
    SELECT 'user', id, COALESCE(name, email), CAST(NULL AS TEXT) FROM users WHERE id = $1";

/// What operators did by one request, and the events that it brought.
const BY_REQUEST: [&str; 2] = [
    "SELECT 'act' AS type, id, action AS title, target_id AS owner_id
     FROM operator_acts
     WHERE request_id = $1
     ORDER BY id
     LIMIT $2",
    "SELECT 'event' AS type, id, type AS title, CAST(NULL AS TEXT) AS owner_id
     FROM webhook_events
     WHERE request_id = $1
     ORDER BY id
     LIMIT $2",
];

/// What a user has of pods.
const BY_USER: &str = "SELECT 'membership' AS type, id, user_id AS title, pod_id AS owner_id
     FROM memberships
     WHERE user_id = $1
     ORDER BY joined_at DESC, id DESC
     LIMIT $2";

/// Customers by their ids.
const CUSTOMERS: &str =
    "SELECT 'customer' AS type, customers.id, COALESCE(name, email) AS title, CAST(NULL AS TEXT) AS owner_id
     FROM json_each($1) AS wanted
     JOIN customers ON customers.id = wanted.key
     ORDER BY customers.id";

/// Customers whose names begin so.
const BY_NAME: &str = "SELECT 'customer' AS type, id, name AS title, CAST(NULL AS TEXT) AS owner_id
     FROM customers
     WHERE name_key >= $1 AND name_key <= $2
     ORDER BY name_key, id
     LIMIT $3";

async fn found(tx: &mut Tx, text: &str) -> Result<Vec<ResultView>, DbError> {
    let key = LicenseKey::parse(text);
    let limit = FOUND_MAX as i64;
    let mut found: Vec<Found> = Vec::new();
    let customers = named(tx, text).await?;
    if !customers.is_empty() {
        let ids = id_set(customers.iter().map(String::as_str));
        found.extend(tx.sql(CUSTOMERS).bind(ids).all::<Found>().await?);
    }
    let key = key.as_ref().map(LicenseKey::expose).unwrap_or_default();
    found.extend(tx.sql(BY_ID).bind(text).bind(key).all::<Found>().await?);
    for sql in BY_REQUEST {
        found.extend(tx.sql(sql).bind(text).bind(limit).all::<Found>().await?);
    }
    found.extend(tx.sql(BY_USER).bind(text).bind(limit).all::<Found>().await?);
    let prefix = name_key(text);
    let last = format!("{prefix}{LAST_CHARACTER}");
    found.extend(tx.sql(BY_NAME).bind(prefix.as_str()).bind(last).bind(limit).all::<Found>().await?);
    let mut seen = BTreeSet::new();
    found.retain(|row| seen.insert((row.r#type.clone(), row.id.clone())));
    found.truncate(FOUND_MAX);
    Ok(found.into_iter().map(ResultView::from).collect())
}

impl From<Found> for ResultView {
    fn from(row: Found) -> Self {
        let shown_by = row.owner_id.as_deref().unwrap_or(&row.id);
        let url = match &*row.r#type {
            "event" => page("events", shown_by),
            "license" | "machine" | "license_event" => page("licenses", shown_by),
            "pod" | "membership" | "contribution" | "payout" => page("pods", shown_by),
            "dead_letter" => format!("/console/dead-letters?q={}", escaped(&row.id)),
            "act" => format!("/console/audit?target={}", escaped(shown_by)),
            "user" => format!("/console/customers?q={}", escaped(&row.id)),
            // Of money that names no customer there are only the events that told of it.
            _ if row.r#type != "customer" && row.owner_id.is_none() => {
                format!("/console/events?object={}", escaped(&row.id))
            }
            _ => page("customers", shown_by),
        };
        Self { title: row.title.unwrap_or_else(|| row.id.clone()), r#type: row.r#type, id: row.id, url }
    }
}

fn page(of: &str, id: &str) -> String {
    format!("/console/{of}/{}", escaped(id))
}

/// A text within a path or a query: an id of an event may be anything.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a text takes everything");
        }
    }
    escaped
}

/// The statements whose texts stand apart, for the test that looks at how engines carry them out.
#[cfg(test)]
const STATEMENTS: [&str; 6] = [BY_ID, BY_REQUEST[0], BY_REQUEST[1], BY_USER, CUSTOMERS, BY_NAME];
