//! Widgets: configurations that a customer's pages show, seeded from the operator's defaults.

pub mod defaults;

use tollgate_shared::{Rng, Timestamp, ids};

use crate::db::{Json, record};
use crate::widgets::defaults::WidgetDefaults;

record! {
    /// A row of `widgets`.
    pub struct Widget in "widgets" {
        /// `wid_…`
        pub id: String,
        /// Whose it is.
        pub customer_id: String,
        /// Unique for the customer.
        pub name: String,
        /// Whatever the operator's file or the user put there.
        pub config: Json<serde_json::Value>,
        /// When it was seeded or made.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }
}

/// The widgets that a new customer starts with.
pub fn seed(now: Timestamp, rng: &Rng, defaults: &WidgetDefaults, customer_id: &str) -> Vec<Widget> {
    let widget = |default: &defaults::WidgetDefault| Widget {
        id: ids::new_id("wid", now, rng),
        customer_id: customer_id.to_owned(),
        name: default.name.clone(),
        config: Json(default.config.clone()),
        created_at: now,
        updated_at: now,
    };
    defaults.iter().map(widget).collect()
}
