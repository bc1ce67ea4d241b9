//! What a delivery comes to.

/// What an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in effect, since this very delivery.
    Processed,
    /// It had ended before.
    Duplicate,
    /// It is stored and has no effect here.
    Ignored,
    /// It is stored and will never work.
    DeadLettered,
}

impl Outcome {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// Why a delivery does not end its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The body is not an event.
    #[error("not an event")]
    Malformed,
    /// It failed in a way that may pass; it is stored and will be tried again here.
    #[error("failed, stored for another attempt")]
    RetryScheduled,
    /// It could not be stored.
    #[error("could not be stored")]
    NotStored,
}

/// What became of one delivery, with the event's id as far as it could be read.
pub type Delivery = Result<(String, Outcome), (Option<String>, IntakeError)>;
