//! A line of the timetable.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_db::DbError;
use tollgate_domain::cron::schedule::Schedule;

use crate::app::App;
use crate::entitlements::expire::Expire;
use crate::webhooks::inbox::Inbox;

/// What a job does, as long as it does it.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<(), DbError>> + Send>>;

/// Something that is done when its time has come. To be done twice is the same as once.
pub struct Job {
    /// Its name in paths, logs and metrics.
    pub name: &'static str,
    /// When its time comes.
    pub schedule: Schedule,
    /// Does all that is due.
    pub work: fn(Context, Progress) -> Work,
}

/// What jobs work with.
#[derive(Clone)]
pub struct Context {
    /// All that routes work with.
    pub app: App,
    /// Where events are tried again.
    pub inbox: Inbox,
    /// What ends by time.
    pub expire: Arc<Expire>,
}

/// What a run has done so far: what is left of one that fails half-way. Clones are the same.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<Value>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Value::Object(Map::new()))))
    }
}

impl Progress {
    /// Says what has been done, in place of what was said before.
    pub fn say(&self, summary: &impl Serialize) {
        let summary = serde_json::to_value(summary).expect("a summary has only texts as names");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = summary;
    }

    /// What was said last.
    pub fn said(&self) -> Value {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
