//! What is overdue is tried again, or Stripe's own schedule of it is ended: whatever is due, one at a time an invoice over all
//! replicas. What is to be done is decided and noted in one transaction, done at Stripe, and what came of it taken in.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream};
use tollgate_db::{DbError, UnitOfWork};
use tollgate_domain::apply::Touched;
use tollgate_domain::contributions::tries::Step;
use tollgate_domain::contributions::{self, Contribution, Due};
use tollgate_domain::memberships::retrying::Answered;
use tollgate_domain::memberships::{self, tries};
use tollgate_shared::Timestamp;
use tracing::{error, info, warn};

use super::at_stripe::Teller;
use super::or_database;
use crate::app::App;
use crate::http::error::ApiError;
use crate::stripe_api::error::Refusal;
use crate::stripe_api::form::Form;
use crate::write::WriteError;

/// How many are taken up at a time.
const PORTION: i64 = 500;

/// How many are seen to side by side: as many calls as wait for Stripe at once.
const SIDE_BY_SIDE: usize = 8;

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Invoices that were tried.
    pub tried: usize,
    /// Invoices whose schedule at Stripe was ended.
    pub ended: usize,
}

/// Sees to all contributions about which something is due. One that cannot be seen to holds up no other; where none of so
/// many in a row can be, Stripe is away, and the rest waits for the next run.
pub async fn run(app: &App) -> Result<Done, DbError> {
    let Ok(teller) = Teller::open(app) else { return Ok(Done::default()) };
    let due = contributions::due(&mut app.read().await?, app.clock.now(), PORTION).await?;
    let failed_in_a_row = &AtomicUsize::new(0);
    let all = stream::iter(due.into_iter().map(|due| async move {
        if failed_in_a_row.load(Ordering::Relaxed) >= SIDE_BY_SIDE {
            return Ok(Outcome::Left);
        }
        let outcome = see_to(teller.in_background(), &due).await;
        match outcome {
            Ok(Outcome::Done(_)) => failed_in_a_row.store(0, Ordering::Relaxed),
            Ok(Outcome::Failed) => drop(failed_in_a_row.fetch_add(1, Ordering::Relaxed)),
            Ok(Outcome::Left) | Err(_) => {}
        }
        outcome
    }));
    let mut all = all.buffer_unordered(SIDE_BY_SIDE);
    let mut done = Done::default();
    while let Some(outcome) = all.next().await {
        match outcome {
            Ok(Outcome::Done(Step::Try)) => done.tried += 1,
            Ok(Outcome::Done(Step::Take | Step::Stop)) => done.ended += 1,
            Ok(Outcome::Failed | Outcome::Left) => {}
            Err(failure) if failure.concerns_all() => return Err(failure),
            Err(failure) => error!("could not see to an overdue invoice of a pod: {failure}"),
        }
    }
    Ok(done)
}

/// What became of a contribution about which something was due.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// This was done.
    Done(Step),
    /// Nothing: somebody else is at it, or it is not due any more.
    Left,
    /// Nothing: Stripe could not be asked.
    Failed,
}

/// Sees to one of them.
async fn see_to(teller: Teller<'_>, due: &Due) -> Result<Outcome, DbError> {
    let app = teller.app;
    let owner = app.settings.pod_retries;
    let row = memberships::get(&mut app.read().await?, &due.membership_id).await?;
    let Some(membership) = row else { return Ok(Outcome::Left) };
    let touched = Touched::membership(&membership.id, membership.customer_id.as_deref());
    let taken = app.write(&touched, |work| Ok::<_, Infallible>(tries::take_up(work, &due.id, owner)));
    let (contribution, step) = match taken.await {
        Ok((Some(taken), _)) => taken,
        Ok((None, _)) | Err(WriteError::Panicked) => return Ok(Outcome::Left),
        Err(WriteError::Database(failure)) => return Err(failure),
    };
    let Some(invoice) = contribution.invoice_id.clone() else { return Ok(Outcome::Left) };
    let one = One { teller, touched, contribution, invoice };
    let done = match step {
        Step::Take => one.end_schedule("take").await,
        Step::Stop => one.end_schedule("stop").await,
        Step::Try => one.make_a_try().await,
    };
    match done {
        Ok(true) => Ok(Outcome::Done(step)),
        Ok(false) => Ok(Outcome::Left),
        Err(error) => {
            warn!("could not see to an overdue invoice of a pod, which is done again: {}", error.code);
            one.write(tries::let_rest).await?;
            Ok(Outcome::Failed)
        }
    }
}

/// A contribution that was taken up.
struct One<'a> {
    teller: Teller<'a>,
    touched: Touched,
    contribution: Contribution,
    invoice: String,
}

impl One<'_> {
    /// Ends Stripe's schedule. `why` is a part of the key.
    async fn end_schedule(&self, why: &str) -> Result<bool, ApiError> {
        let owner = self.teller.app.settings.pod_retries;
        let key = format!("tollgate:{}:{why}", self.invoice);
        match self.teller.end_schedule(&self.invoice, &key).await {
            Ok(_) => info!(invoice.id = %self.invoice, "ended Stripe's own tries of invoice {}", self.invoice),
            // It was settled meanwhile, or is not there any more: there is nothing to be ended.
            Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => {}
            Err(error) => return Err(error.into()),
        }
        self.write(|work, id| tries::schedule_ended(work, id, owner)).await?;
        // How it is, and why it failed: its events may not say.
        if let Err(error) = self.look(false).await {
            warn!("could not look at an overdue invoice of a pod: {}", error.code);
        }
        Ok(true)
    }

    /// Tries it, if it is still to be tried.
    async fn make_a_try(&self) -> Result<bool, ApiError> {
        let owner = self.teller.app.settings.pod_retries;
        self.look(false).await?;
        let mut number = None;
        self.write(|work, id| number = tries::begin(work, id, owner)).await?;
        let Some(number) = number else { return Ok(false) };
        let form = Form::default().with("off_session", true);
        let paid = self.teller.pay(&self.invoice, form, &format!("tollgate:{}:try:{number}", self.invoice)).await;
        let refusal = match &paid {
            Ok(_) => None,
            Err(error) => error.refusal().filter(|refusal| refusal.is_answer_to_payment()),
        };
        let (answer, at) = match (paid.as_ref().ok(), refusal) {
            (Some(_), _) => {
                let (is_open, at) = self.look(false).await?;
                (if is_open { Answered::UnderWay } else { Answered::Settled }, at)
            }
            (None, Some(refusal)) => {
                let (_, at) = self.look(refusal.is_decline()).await?;
                (refusal.of_payment(None), at)
            }
            // No answer, too many calls, a fault of Stripe's: the same again, and not counted.
            (None, None) => return paid.map(|_| true).map_err(Into::into),
        };
        count_try("tollgate", &answer);
        info!(invoice.id = %self.invoice, number, "tried invoice {} of a pod", self.invoice);
        self.write(|work, id| tries::answered(work, id, &answer, at, owner)).await?;
        Ok(true)
    }

    async fn look(&self, has_failed: bool) -> Result<(bool, Timestamp), ApiError> {
        self.teller.look_at_invoice(&self.invoice, &self.contribution.membership_id, has_failed).await
    }

    async fn write(&self, mut rule: impl FnMut(&mut UnitOfWork, &str) + Send) -> Result<(), DbError> {
        let written = self.teller.app.write(&self.touched, |work| {
            rule(work, &self.contribution.id);
            Ok::<_, Infallible>(())
        });
        or_database(written.await)
    }
}

/// Counts a try by at whose word it was made, and by what Stripe answered.
pub(super) fn count_try(owner: &'static str, answer: &Answered) {
    let result = match answer {
        Answered::Settled => "settled",
        Answered::UnderWay => "pending",
        Answered::Failed { .. } => "failed",
        Answered::Unknown => "unknown",
    };
    metrics::counter!("tollgate_backend_payment_tries_total", "owner" => owner, "result" => result).increment(1);
}
