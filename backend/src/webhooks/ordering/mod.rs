//! Objects whose newest snapshots are from the same second, and that only their event ids distinguish.
//!
//! The ids decide such an order alike everywhere, but they may be wrong; where Stripe can be asked, [`refetch`] asks it.

pub mod refetch;
#[cfg(test)]
mod tests;

use tollgate_db::Changes;
use tollgate_domain::customers::Customer;
use tollgate_domain::subscriptions::Subscription;
use tollgate_stripe::{ObjectType, Observation};

use crate::differences::object_id;

/// An object of which we do not know which of its newest snapshots is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmbiguousOrder {
    /// What it is: a customer or a subscription.
    pub object_type: ObjectType,
    /// Its id.
    pub id: String,
    /// The connected account that it belongs to, where it is not our own.
    pub account: Option<String>,
    /// The second that the snapshots share, Unix time.
    pub second: i64,
}

impl AmbiguousOrder {
    /// The call that asks for it, and the name of its kind in the paths of Stripe's API.
    fn resource(&self) -> (&'static str, &'static str) {
        match self.object_type {
            ObjectType::Customer => ("customers.read", "customers"),
            _ => ("subscriptions.read", "subscriptions"),
        }
    }
}

/// The changed objects whose order is ambiguous after `observations`.
pub fn ambiguous_orders<'a>(
    changes: &Changes,
    observations: impl Iterator<Item = &'a Observation> + Clone,
) -> Vec<AmbiguousOrder> {
    let order = |object_type, id: &str, second| {
        let account = observations.clone().find(|it| object_id(it) == Some(id)).and_then(|it| it.account.clone());
        AmbiguousOrder { object_type, id: id.to_owned(), account, second }
    };
    let customers = changes.of::<Customer>().map(|change| change.after);
    let customers =
        customers.filter_map(|row| Some(order(ObjectType::Customer, &row.id, row.history.ambiguous_second()?)));
    let subscriptions = changes.of::<Subscription>().map(|change| change.after);
    let subscriptions =
        subscriptions.filter_map(|row| Some(order(ObjectType::Subscription, &row.id, row.history.ambiguous_second()?)));
    customers.chain(subscriptions).collect()
}
