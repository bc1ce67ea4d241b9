//! What both tiers of Tollgate agree on: how an event is signed and framed, how configuration is read, how time and
//! randomness are handed in, what an error looks like, what may be logged, and how a process starts and ends.
//!
//! Nothing in here serves HTTP or knows databases, but for `testing`, which starts the database server of the tests.

pub mod backoff;
pub mod clock;
pub mod env;
pub mod error_body;
pub mod event_head;
pub mod http_version;
pub mod ids;
pub mod json_seq;
pub mod log_safe;
pub mod process;
pub mod receipt;
pub mod relay_proof;
pub mod request_id;
pub mod rng;
pub mod secret;
pub mod signing;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;

pub use clock::{Clock, Timestamp};
pub use error_body::ErrorBody;
pub use event_head::EventHead;
pub use request_id::{RequestId, TraceParent};
pub use rng::Rng;
pub use secret::{Secret, Secrets};
