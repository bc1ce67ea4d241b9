//! What Stripe sends us: events and objects of any API version, read leniently into one form.
//!
//! Only the fields that we act on are read, each from every place that a version has kept it in, the newest place
//! first: an endpoint that is pinned to an old version is sent both. Unknown types, fields and values are no errors;
//! a field of an unexpected type is an absent one. Nothing here asks anybody: no network, no clock, no files.

mod charge;
mod checkout_session;
mod customer;
mod dispute;
mod event;
mod field;
mod invoice;
mod invoice_line;
mod invoice_payment;
mod normalize;
mod observation;
mod payment_intent;
mod payment_method;
mod price;
mod refund;
mod scalar;
mod subscription;
#[cfg(test)]
mod tests;
mod version;

pub use charge::Charge;
pub use checkout_session::CheckoutSession;
pub use customer::Customer;
pub use dispute::Dispute;
pub use event::{Event, Malformed};
pub use invoice::Invoice;
pub use invoice_line::Line;
pub use invoice_payment::InvoicePayment;
pub use normalize::{PodRef, Unreadable};
pub use observation::{MethodChange, Object, ObjectType, Observation, SessionOutcome};
pub use payment_intent::PaymentIntent;
pub use payment_method::PaymentMethod;
pub use price::PriceRef;
pub use refund::Refund;
pub use subscription::{Item, Subscription};
pub use version::is_known_version;
