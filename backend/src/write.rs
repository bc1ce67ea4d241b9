//! The one way in which rows are changed: what is touched is loaded and locked, a rule changes it in memory, and what has
//! changed is written, all in one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tollgate_db::{Changes, DbError, UnitOfWork};
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::notifications;

use crate::app::App;
use crate::tally;

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError<E> {
    /// The rule refused.
    #[error("{0}")]
    Refused(E),
    /// The rule panicked, which is logged where it did.
    #[error("the rule panicked")]
    Panicked,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A rule panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

impl App {
    /// Lets `rule` change what is `touched`, and gives what it says and what was written. Nothing is written if it refuses
    /// or panics. It may be called twice: the database may ask for that when somebody else was in the way.
    pub async fn write<T: Send, E: Send>(
        &self,
        touched: &Touched,
        mut rule: impl FnMut(&mut UnitOfWork) -> Result<T, E> + Send,
    ) -> Result<(T, Changes), WriteError<E>> {
        match self.try_write(touched, &mut rule).await {
            Err(WriteError::Database(DbError::Conflict { .. })) => {
                metrics::counter!("tollgate_backend_write_conflicts_total").increment(1);
                self.try_write(touched, &mut rule).await
            }
            written => written,
        }
    }

    async fn try_write<T: Send, E: Send>(
        &self,
        touched: &Touched,
        rule: &mut (impl FnMut(&mut UnitOfWork) -> Result<T, E> + Send),
    ) -> Result<(T, Changes), WriteError<E>> {
        let mut tx = self.begin_write().await?;
        let mut work = apply::load(&mut tx, &self.settings, self.clock.now(), touched).await?;
        let value = match attempt(&mut work, |work| {
            let value = rule(work);
            notifications::follow(work, &self.settings, None);
            value
        }) {
            Ok(Ok(value)) => value,
            Ok(Err(refusal)) => return Err(WriteError::Refused(refusal)),
            Err(Panicked) => return Err(WriteError::Panicked),
        };
        let changes = work.write(&mut tx).await?;
        tx.commit().await?;
        self.bells.ring_for(&changes);
        tally::count(&changes);
        Ok((value, changes))
    }
}

/// Lets `rule` change `work`, of which nothing is left if it panics. What it did counts from then on.
pub fn attempt<T>(work: &mut UnitOfWork, rule: impl FnOnce(&mut UnitOfWork) -> T) -> Result<T, Panicked> {
    let done = catch_unwind(AssertUnwindSafe(|| rule(work)));
    if done.is_ok() {
        work.release_savepoint();
    } else {
        work.rollback();
    }
    done.map_err(|_| Panicked)
}
