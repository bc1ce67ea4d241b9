//! Widgets: configurations that a customer's pages show, seeded from the operator's defaults.

pub mod defaults;
pub mod view;

use tollgate_shared::Timestamp;

use crate::audit::{Cause, Diff};
use crate::customers::{self, Customer};
use crate::widgets::defaults::WidgetDefaults;
use crate::widgets::view::WidgetView;
use tollgate_db::{DbError, Json, Tx, UnitOfWork, record};

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

/// The user has no such widget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user has no such widget")]
pub struct UnknownWidget;

/// The widget `id`, if it is one of the user's.
pub async fn of_user(tx: &mut Tx, user_id: &str, id: &str) -> Result<Option<Widget>, DbError> {
    customers::thing_of_user(tx, user_id, id, |widget: &Widget| &widget.customer_id).await
}

/// Gives the widget `id` of the user's another configuration. The same again changes nothing.
pub fn configure(
    work: &mut UnitOfWork,
    user_id: &str,
    id: &str,
    config: &serde_json::Value,
) -> Result<WidgetView, UnknownWidget> {
    let mut row: Widget = work.get_cloned(id).ok_or(UnknownWidget)?;
    if !work.get(&row.customer_id).is_some_and(|customer: &Customer| customer.is_of(user_id)) {
        return Err(UnknownWidget);
    }
    if row.config.0 != *config {
        row.config = Json(config.clone());
        row.updated_at = work.now();
        let diff = Diff { change: "widget_changed", from: None, to: Some(id) };
        customers::record_change(work, &row.customer_id, Cause::user(None), diff);
        work.insert(row.clone());
    }
    Ok(WidgetView::of(row))
}
