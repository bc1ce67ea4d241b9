//! Failures on demand, for tests: the N-th operation of a database fails, so that a test can fail each in turn.
//!
//! Every begin, statement and commit is counted, on both engines alike.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::DbError;

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

/// Whether an operation that fails was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// It was done and the reply was lost, which matters to a commit.
    ReplyLost,
}

/// Counts operations, and fails the one that was armed.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counted: Vec<Operation>,
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    at: usize,
    moment: Moment,
    error: DbError,
}

impl Faults {
    /// Fails the `nth` operation from now (1 for the next), once.
    pub fn arm(&self, nth: usize, moment: Moment, error: DbError) {
        let mut state = self.lock();
        let at = state.counted.len() + nth;
        state.armed = Some(Armed { at, moment, error });
    }

    /// Whether the armed failure has not come yet.
    pub fn is_armed(&self) -> bool {
        self.lock().armed.is_some()
    }

    /// Takes a failure back that has not come.
    pub fn disarm(&self) {
        self.lock().armed = None;
    }

    /// Every operation so far, in order.
    pub fn counted(&self) -> Vec<Operation> {
        self.lock().counted.clone()
    }

    /// Counts `operation`; fails it if it is the one.
    pub(super) fn before(&self, operation: Operation) -> Result<(), DbError> {
        let mut state = self.lock();
        state.counted.push(operation);
        state.fail(Moment::Before)
    }

    /// Fails the reply of what was counted last if it is the one.
    pub(super) fn after(&self) -> Result<(), DbError> {
        self.lock().fail(Moment::ReplyLost)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, moment: Moment) -> Result<(), DbError> {
        let now = self.counted.len();
        match self.armed.take_if(|armed| armed.at == now && armed.moment == moment) {
            Some(armed) => Err(armed.error),
            None => Ok(()),
        }
    }
}
