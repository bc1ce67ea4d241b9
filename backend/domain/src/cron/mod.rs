//! What is done by the clock: when a job is due, and who of all that look at the clock runs it.
//!
//! A *tick* is a moment at which a job is due. Its row in `cron_runs` is its claim: of several processes that find it due at
//! the same moment, one inserts it. There is no leader, and nothing is remembered but these rows, so that it makes no
//! difference which process was there when a tick came, or whether any was.

pub mod runs;
pub mod schedule;
mod store;

use serde_json::Value;
use tollgate_db::{Json, row};
use tollgate_shared::Timestamp;

row! {
    /// A row of `cron_runs`.
    pub struct Run {
        /// What the run is for.
        pub tick: Timestamp,
        /// Whose it is: another one for each attempt.
        pub holder: String,
        /// How often it was begun: more than once where a process died of it, or with it.
        pub attempts: i64,
        /// When it was begun last.
        pub started_at: Timestamp,
        /// Until when it is its holder's.
        pub lease_until: Timestamp,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
        /// How; see [`Outcome`].
        pub outcome: Option<String>,
        /// The class of what made it fail.
        pub error: Option<String>,
        /// What it has done so far.
        pub summary: Json<Value>,
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was done.
    Succeeded,
    /// It failed, for a reason of this class.
    Failed(&'static str),
}

impl Outcome {
    /// The name of any failure.
    const FAILED: &str = "failed";

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => Self::FAILED,
        }
    }
}

/// A run that is ours, as long as we say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job's name.
    pub job: &'static str,
    /// What it is for.
    pub tick: Timestamp,
    /// Whose it is.
    pub holder: String,
}
