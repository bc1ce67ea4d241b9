//! Payment methods: the brand and last four of the cards that a customer's default may point to.

pub mod view;

use tollgate_shared::Timestamp;

use tollgate_db::{UnitOfWork, record};
use tollgate_stripe::{self as stripe, MethodChange, Observation};

record! {
    /// A row of `payment_methods`.
    pub struct PaymentMethod in "payment_methods" {
        /// `pm_…`
        pub id: String,
        /// Whose it is or was.
        pub customer_id: Option<String>,
        /// `visa` and the like; the type where it is no card.
        pub brand: Option<String>,
        /// The last four digits.
        pub last4: Option<String>,
        /// For good: Stripe lets nobody attach it again.
        pub detached: bool,
        /// When the newest snapshot was made; null for a placeholder.
        pub seen_at: Option<Timestamp>,
        /// What happened then, in the order of things that happen within one second.
        pub seen_change: i64,
        /// The newest snapshot's event.
        pub seen_source: Option<String>,
    }
}

impl PaymentMethod {
    /// A row of which only the name is known.
    pub fn placeholder(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            customer_id: None,
            brand: None,
            last4: None,
            detached: false,
            seen_at: None,
            seen_change: 0,
            seen_source: None,
        }
    }
}

/// Takes in a snapshot of a payment method. A change of a second counts before the attachment of that second, whatever
/// their events are called.
pub fn apply(work: &mut UnitOfWork, observation: &Observation, state: &stripe::PaymentMethod, change: MethodChange) {
    let detached = change == MethodChange::Detached;
    let mut row = work.get_cloned(&state.id).unwrap_or_else(|| PaymentMethod::placeholder(&state.id));
    let newest = (row.detached, row.seen_at, row.seen_change, row.seen_source.as_deref());
    let seen_change = change as i64;
    if (detached, Some(observation.seen_at), seen_change, Some(&*observation.source)) > newest {
        row.brand.clone_from(&state.brand);
        row.last4.clone_from(&state.last4);
        row.detached = detached;
        row.seen_at = Some(observation.seen_at);
        row.seen_change = seen_change;
        row.seen_source = Some(observation.source.clone());
        if state.customer.is_some() {
            row.customer_id.clone_from(&state.customer);
        }
        work.insert(row);
    }
}
