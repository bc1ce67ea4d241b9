//! A widget as its customer's pages get it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use tollgate_db::{DbError, Json, Lock, Tx};

use crate::widgets::Widget;

/// A widget as its customer's pages get it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WidgetView {
    id: String,
    name: String,
    config: Value,
}

/// The widgets of a customer.
pub async fn of_customer(tx: &mut Tx, customer_id: &str) -> Result<Vec<WidgetView>, DbError> {
    let rows: Vec<Widget> = tx.load("customer_id", &BTreeSet::from([customer_id.to_owned()]), Lock::None).await?;
    let view = |Widget { id, name, config: Json(config), .. }| WidgetView { id, name, config };
    Ok(rows.into_iter().map(view).collect())
}
