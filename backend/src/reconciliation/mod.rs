//! Finds what Stripe's webhooks did not bring, or brought wrong, and mends it.
//!
//! What happened within the last thirty days is compared by the ids of events, and each subscription and invoice as Stripe has
//! it now with its row. What is found goes the way of all other news: an event into the inbox, an object as an
//! observation; so whatever a webhook brings meanwhile stands, and everything may be found and mended twice.

mod finding;
pub mod nightly;
mod pages;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_db::{DbError, Json};
use tollgate_domain::reconciliation::{self as runs, Run, Stretch};
use tollgate_shared::backoff::Backoff;
use tracing::warn;

use self::pages::PageRead;
use crate::app::App;
use crate::stripe_api::Client;
use crate::stripe_api::error::CallError;
use crate::webhooks::inbox::Inbox;

pub use self::finding::Finding;

/// How many pages are read side by side. The budget says how many a second.
const PAGES_MAX: usize = 4;

/// How often a page is tried, and how long is waited in between: some four minutes in all.
const ATTEMPTS_MAX: u32 = 10;
const RETRY_BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// How long pages that are being read may take when it is to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a page was not read, or what it shows not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Stripe did not give it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Events could not be stored, for the database's sake.
    #[error("missed events could not be stored")]
    NotStored,
    /// A fault of ours, which is logged where it is.
    #[error("a page could not be compared: it panicked")]
    Panicked,
}

impl Failure {
    fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => error.is_transient(),
            Self::Database(error) => error.is_transient(),
            Self::NotStored => true,
            Self::Panicked => false,
        }
    }
}

/// How a run ended. What it has not read is in its row.
#[derive(Debug)]
pub enum Ended {
    /// It has read everything.
    Complete,
    /// It was told to stop.
    Stopped,
    /// It could not go on.
    Failed(Failure),
}

/// What a run works with.
#[derive(Clone)]
pub struct Reconciliation {
    /// The rows, and the rules that they change by.
    pub app: App,
    /// Where missed events go.
    pub inbox: Inbox,
    /// Where things are read.
    pub stripe: Client,
    /// Whether what is found is mended.
    pub mends: bool,
}

impl Reconciliation {
    /// Reads what `run` has still to read, until `stop`. Says after each page how far it has come and what was found.
    pub async fn go_on(
        &self,
        run: &mut Run,
        mut say: impl FnMut(&Run, &[Finding]),
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let Json(mut waiting) = std::mem::take(&mut run.remaining);
        let mut in_hand: Vec<Stretch> = Vec::new();
        // Tasks of their own: none may wait for the database while it holds it.
        let mut pages = JoinSet::new();
        let mut stop = pin!(stop);
        let (mut stopping, mut failure) = (None, None);
        loop {
            while stopping.is_none()
                && failure.is_none()
                && pages.len() < PAGES_MAX
                && let Some(stretch) = waiting.pop()
            {
                in_hand.push(stretch.clone());
                let reconciliation = self.clone();
                pages.spawn(async move { reconciliation.page(stretch).await });
            }
            let read = tokio::select! {
                Some(read) = pages.join_next() => read,
                () = &mut stop, if stopping.is_none() && !pages.is_empty() => {
                    stopping = Some(Instant::now() + STOP_TIMEOUT);
                    continue;
                }
                () = sleep_until(stopping.unwrap_or_else(Instant::now)), if stopping.is_some() && !pages.is_empty() => break,
                else => break,
            };
            let Ok((stretch, page)) = read else {
                failure.get_or_insert(Failure::Panicked);
                continue;
            };
            in_hand.retain(|other| *other != stretch);
            let mut findings = Vec::new();
            match page {
                Ok(page) => {
                    if let Some((id, made_at)) = &page.more_after {
                        waiting.extend(stretch.rest(page.objects, (id, *made_at), waiting.len() + in_hand.len()));
                    }
                    run.objects += count(page.objects);
                    run.found += count(page.findings.len());
                    run.unmended += count(page.findings.iter().filter(|finding| !finding.is_mended()).count());
                    findings = page.findings;
                }
                Err(error) => {
                    waiting.push(stretch);
                    failure.get_or_insert(error);
                }
            }
            run.remaining = Json(waiting.iter().chain(&in_hand).cloned().collect());
            run.ended_at = run.remaining.is_empty().then(|| self.app.clock.now());
            say(run, &findings);
            if let Err(error) = self.keep(run).await {
                failure.get_or_insert(error.into());
            }
        }
        run.remaining = Json(waiting.into_iter().chain(in_hand).collect());
        match failure {
            Some(failure) => Ended::Failed(failure),
            None if run.remaining.is_empty() => Ended::Complete,
            None => Ended::Stopped,
        }
    }

    async fn keep(&self, run: &Run) -> Result<(), DbError> {
        let mut tx = self.app.begin_write().await?;
        runs::keep(&mut tx, run).await?;
        tx.commit().await
    }

    /// Reads a page and takes it in, again and again where that may help.
    async fn page(&self, mut stretch: Stretch) -> (Stretch, Result<PageRead, Failure>) {
        let begun = stretch.clone();
        let mut failures = 0;
        loop {
            let failure = match self.try_page(&stretch).await {
                Ok(page) => return (begun, Ok(page)),
                Err(failure) => failure,
            };
            failures += 1;
            if let Failure::Call(error) = &failure
                && error.refusal().is_some_and(|refusal| refusal.code.as_deref() == Some("resource_missing"))
                && stretch.after.take().is_some()
            {
                // What it was to begin after is not listed any more; it begins anew.
                continue;
            }
            if !failure.is_transient() || failures == ATTEMPTS_MAX {
                return (begun, Err(failure));
            }
            warn!("could not compare a page with Stripe, trying again: {failure}");
            sleep(RETRY_BACKOFF.after(failures, &self.app.rng)).await;
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
