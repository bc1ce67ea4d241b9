//! A key as others than its holder see it.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx, row};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::api_keys::StoredKey;
use crate::api_keys::key::ApiKey;

/// A key as others than its holder see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ApiKey")]
pub struct ApiKeyView {
    id: String,
    prefix: String,
    created_at: String,
    revoked_at: Option<String>,
}

impl ApiKeyView {
    /// What is shown of `row`.
    pub fn of(row: &StoredKey) -> Self {
        let (id, prefix) = (row.id.clone(), row.prefix.clone());
        Shown { id, prefix, created_at: row.created_at, revoked_at: row.revoked_at }.into()
    }
}

/// A key as it is shown the one time.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "ShownApiKey")]
pub struct ShownKeyView {
    #[serde(flatten)]
    view: ApiKeyView,
    key: String,
}

impl ShownKeyView {
    /// What is shown of `row`, whose key is `key`.
    pub fn of(row: &StoredKey, key: &ApiKey) -> Self {
        Self { view: ApiKeyView::of(row), key: key.expose().to_owned() }
    }

    /// The key's id.
    pub fn id(&self) -> &str {
        &self.view.id
    }
}

row! {
    /// What is shown of a row of `api_keys`.
    struct Shown {
        pub id: String,
        pub prefix: String,
        pub created_at: Timestamp,
        pub revoked_at: Option<Timestamp>,
    }
}

/// The keys of a customer, in order of making.
pub async fn of_customer(tx: &mut Tx, customer_id: &str) -> Result<Vec<ApiKeyView>, DbError> {
    let rows: Vec<Shown> = tx
        .sql(
            "SELECT id, prefix, created_at, revoked_at
             FROM api_keys
             WHERE customer_id = $1
             ORDER BY id",
        )
        .bind(customer_id)
        .all()
        .await?;
    Ok(rows.into_iter().map(ApiKeyView::from).collect())
}

/// A page of the keys of `customers`, the newest first.
pub async fn list(tx: &mut Tx, customers: &[String], page: &Page) -> Result<List<ApiKeyView>, DbError> {
    let mut rows = Vec::new();
    for customer in customers {
        let query = tx.sql(
            "SELECT id, prefix, created_at, revoked_at
             FROM api_keys
             WHERE customer_id = $1 AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        );
        rows.extend(query.bind_page(customer, page).all::<Shown>().await?);
    }
    Ok(page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() }).map(ApiKeyView::from))
}

impl From<Shown> for ApiKeyView {
    fn from(row: Shown) -> Self {
        Self {
            id: row.id,
            prefix: row.prefix,
            created_at: rfc3339(row.created_at),
            revoked_at: row.revoked_at.map(rfc3339),
        }
    }
}
