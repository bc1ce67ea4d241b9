//! A widget as its customer's pages get it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Json, Lock, Tx, row};
use tollgate_shared::Timestamp;

use crate::widgets::Widget;

/// A widget as its customer's pages get it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Widget")]
pub struct WidgetView {
    id: String,
    name: String,
    config: Value,
}

impl WidgetView {
    /// What is shown of `row`.
    pub fn of(row: Widget) -> Self {
        let Widget { id, name, config: Json(config), .. } = row;
        Self { id, name, config }
    }
}

/// The widgets of a customer.
pub async fn of_customer(tx: &mut Tx, customer_id: &str) -> Result<Vec<WidgetView>, DbError> {
    let rows: Vec<Widget> = tx.load("customer_id", &BTreeSet::from([customer_id.to_owned()]), Lock::None).await?;
    Ok(rows.into_iter().map(WidgetView::of).collect())
}

row! {
    /// What is shown of a row of `widgets`.
    struct Shown {
        pub id: String,
        pub name: String,
        pub config: Json<Value>,
        pub created_at: Timestamp,
    }
}

/// A page of the widgets of `customers`, the newest first.
pub async fn list(tx: &mut Tx, customers: &[String], page: &Page) -> Result<List<WidgetView>, DbError> {
    let mut rows = Vec::new();
    for customer in customers {
        let query = tx.sql(
            "SELECT id, name, config, created_at
             FROM widgets
             WHERE customer_id = $1 AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        );
        rows.extend(query.bind_page(customer, page).all::<Shown>().await?);
    }
    Ok(page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() }).map(WidgetView::from))
}

impl From<Shown> for WidgetView {
    fn from(row: Shown) -> Self {
        let Shown { id, name, config: Json(config), .. } = row;
        Self { id, name, config }
    }
}
