//! What Stripe sends us: events and objects of any API version, read leniently into one form.
//!
//! Only the fields that we act on are read, each from every place that a version has kept it in, the newest place
//! first: an endpoint that is pinned to an old version is sent both. Unknown types, fields and values are no errors;
//! a field of an unexpected type is an absent one. Nothing here asks anybody: no network, no clock, no files.

mod event;
mod field;
mod objects;
mod observation;
mod payload;
#[cfg(test)]
mod tests;
mod version;

pub use event::{Event, Malformed};
pub use objects::{
    CheckoutSession, Customer, Invoice, InvoicePayment, Item, Line, PaymentIntent, PaymentMethod, PriceRef,
    Subscription,
};
pub use observation::{Object, Observation, SessionOutcome};
pub use payload::Unreadable;
pub use version::is_known_version;
