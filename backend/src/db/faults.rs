//! Failures on demand, for tests: the N-th operation of a database fails, so that a test can fail each in turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::db::DbError;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Beginning a transaction.
    Begin,
    /// A statement in it.
    Statement,
    /// Its commit.
    Commit,
}

/// Whether a commit that fails was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It fails, and nothing was done.
    Before,
    /// A commit is done and its reply is lost; anything else fails before.
    ReplyLost,
}

/// Counts operations, and fails the one that was armed.
#[derive(Debug, Default)]
pub struct Faults {
    count: AtomicU64,
    armed: Mutex<Option<Armed>>,
}

#[derive(Debug)]
struct Armed {
    at: u64,
    moment: Moment,
    error: DbError,
}

impl Faults {
    /// Fails the `nth` operation from now (1 for the next), once.
    pub fn arm(&self, nth: u64, moment: Moment, error: DbError) {
        let at = self.count.load(Ordering::SeqCst) + nth;
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Armed { at, moment, error });
    }

    /// Whether the armed failure has not come yet.
    pub fn is_armed(&self) -> bool {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes a failure back that has not come.
    pub fn disarm(&self) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Counts `operation`; fails it if it is the one.
    pub fn before(&self, operation: Operation) -> Result<(), DbError> {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.fail_if(|moment| moment == Moment::Before || operation != Operation::Commit)
    }

    /// Fails the reply of `operation` if it is the one.
    pub fn after(&self, operation: Operation) -> Result<(), DbError> {
        self.fail_if(|moment| moment == Moment::ReplyLost && operation == Operation::Commit)
    }

    fn fail_if(&self, applies: impl Fn(Moment) -> bool) -> Result<(), DbError> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |armed: &mut Armed| self.count.load(Ordering::SeqCst) >= armed.at && applies(armed.moment);
        match armed.take_if(is_it) {
            Some(armed) => Err(armed.error),
            None => Ok(()),
        }
    }
}
