//! Widgets: configurations that a customer's pages show, seeded from the operator's defaults.

pub mod defaults;
pub mod view;

use tollgate_shared::Timestamp;

use crate::widgets::defaults::WidgetDefaults;
use tollgate_db::{Json, UnitOfWork, record};

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

/// Makes the widgets that a new customer starts with. One that has such a name already stays as it is.
pub fn seed(work: &mut UnitOfWork, defaults: &WidgetDefaults, customer_id: &str) {
    for default in defaults.iter() {
        work.append_if_absent(Widget {
            id: work.new_id("wid"),
            customer_id: customer_id.to_owned(),
            name: default.name.clone(),
            config: Json(default.config.clone()),
            created_at: work.now(),
            updated_at: work.now(),
        });
    }
}
