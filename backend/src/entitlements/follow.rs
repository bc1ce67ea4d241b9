//! Bringing customers into step, many in one transaction; and one by one where that fails, so that one customer in
//! trouble holds up no other.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_db::{DbError, UnitOfWork};
use tollgate_domain::apply::Touched;
use tollgate_shared::backoff::Backoff;
use tollgate_shared::log_safe::LogSafe;
use tracing::{debug, error};

use crate::app::App;
use crate::write::WriteError;

/// Customers in one transaction: as many as a batch of events, so that events do not wait long behind it.
pub(super) const PAGE: i64 = 64;

/// How long a customer is left alone that is in trouble.
const RETRY_BACKOFF: Backoff = Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(3600) };

/// The customers that could not be brought into step when they were tried last. Empty nearly always.
#[derive(Default)]
pub(super) struct InTrouble(Mutex<BTreeMap<String, FailureState>>);

struct FailureState {
    failures: u32,
    next_attempt: Instant,
}

impl InTrouble {
    /// Lets `rule` change each of `customers` but those that are in trouble and whose time has not come; gives how many it
    /// changed. An error is of the database as a whole.
    pub(super) async fn follow(
        &self,
        app: &App,
        customers: Vec<String>,
        rule: impl Fn(&mut UnitOfWork, &str) + Sync,
    ) -> Result<usize, DbError> {
        let customers: Vec<String> = customers.into_iter().filter(|id| self.may_try(id)).collect();
        if customers.is_empty() {
            return Ok(0);
        }
        match write(app, &customers, &rule).await {
            Ok(()) => {
                self.failures().retain(|id, _| !customers.contains(id));
                return Ok(customers.len());
            }
            Err(WriteError::Database(failure @ DbError::Unavailable { .. })) => return Err(failure),
            Err(failure) => debug!("bringing {} customers into step one by one: {failure}", customers.len()),
        }
        let mut changed = 0;
        for customer in customers {
            match write(app, std::slice::from_ref(&customer), &rule).await {
                Ok(()) => {
                    self.failures().remove(&customer);
                    changed += 1;
                }
                Err(WriteError::Database(failure @ DbError::Unavailable { .. })) => return Err(failure),
                Err(failure) => self.note(app, customer, &failure),
            }
        }
        Ok(changed)
    }

    fn may_try(&self, customer: &str) -> bool {
        self.failures().get(customer).is_none_or(|state| state.next_attempt <= Instant::now())
    }

    /// The first failure is for a person to see; the others repeat it.
    fn note(&self, app: &App, customer: String, failure: &WriteError<Infallible>) {
        let mut states = self.failures();
        let failures = states.get(&customer).map_or(0, |state| state.failures) + 1;
        let id = LogSafe(&customer);
        if failures == 1 {
            error!(customer.id = %id, "could not bring customer {id} into step, retrying: {failure}");
        } else {
            debug!(customer.id = %id, "could not bring customer {id} into step again: {failure}");
        }
        let next_attempt = Instant::now() + RETRY_BACKOFF.after(failures, &app.rng);
        states.insert(customer, FailureState { failures, next_attempt });
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, FailureState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(
    app: &App,
    customers: &[String],
    rule: &(impl Fn(&mut UnitOfWork, &str) + Sync),
) -> Result<(), WriteError<Infallible>> {
    let touched = Touched { customers: customers.iter().cloned().collect(), ..Touched::default() };
    let all = |work: &mut UnitOfWork| {
        for customer in customers {
            rule(work, customer);
        }
        Ok(())
    };
    app.write(&touched, all).await.map(|((), _)| ())
}
