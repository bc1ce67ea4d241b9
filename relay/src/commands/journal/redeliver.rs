//! `journal redeliver`: events go to the backend again, as they came.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::StatusCode;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;
use tollgate_journal::control::Verb;
use tollgate_journal::reader::{Reader, Selection};
use tollgate_journal::{Entry, Position};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::{Clock, RequestId, Rng};

use super::{CommandError, end, printable};
use crate::backend::config::BackendConfig;
use crate::backend::delivery::{Backend, NoResponse, Outcome};
use crate::backend::event::Event;

/// Deliveries in flight at a time: they begin in order of arrival, and none gets further ahead than this. The backend
/// gathers what comes together into one transaction.
const DELIVERIES_MAX: usize = 16;
/// How often a delivery is tried when it may well work a moment later.
const TRIES_MAX: u32 = 4;
/// How long to wait between the tries.
const RETRY_DELAYS: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(4) };

/// What redelivery takes.
pub(super) struct Deps {
    pub(super) dir: PathBuf,
    pub(super) backend: BackendConfig,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
}

/// Delivers the events of `selection`, each once, and ends those of their entries that are unconfirmed.
pub(super) async fn redeliver(deps: &Deps, selection: &Selection, output: &mut impl Write) -> Result<(), CommandError> {
    let mut reader = Reader::new(&deps.dir);
    let found = reader.select(selection)?;
    // Event ids by their first entry, and all unconfirmed entries by event id.
    let mut firsts = Vec::new();
    let mut seen = HashSet::new();
    let mut unconfirmed: HashMap<String, Vec<Position>> = HashMap::new();
    for found in &found {
        let Some(entry) = reader.entry(found)? else { continue };
        if !found.confirmed {
            unconfirmed.entry(entry.event_id.clone()).or_default().push(found.position);
        }
        if seen.insert(entry.event_id) {
            firsts.push(*found);
        }
    }
    if let Some(unknown) = selection.event_ids.iter().flatten().find(|id| !seen.contains(*id)) {
        return Err(CommandError::Unknown(printable(unknown)));
    }
    drop(seen);

    let backend = Backend::new(&deps.backend, deps.clock.clone(), deps.rng.clone())?;
    let courier = Courier { backend, deps, disconnected: AtomicBool::new(false) };
    let progress = progress(firsts.len());
    let events = stream::iter(&firsts).map(|found| reader.entry(found));
    let mut deliveries = events
        .map(|entry| {
            let courier = &courier;
            async move {
                let Some(entry) = entry? else { return Ok(None) };
                let id = entry.event_id.clone();
                Ok::<_, CommandError>(Some((id, courier.deliver(entry).await)))
            }
        })
        .buffer_unordered(DELIVERIES_MAX);
    let (mut delivered, mut failed) = (0_usize, 0_usize);
    let mut ended = Vec::new();
    while let Some(delivery) = deliveries.next().await {
        progress.inc(1);
        match delivery? {
            Some((id, Ok(()))) => {
                delivered += 1;
                ended.extend(unconfirmed.remove(&id).unwrap_or_default());
            }
            Some((id, Err(why))) => {
                failed += 1;
                progress.suspend(|| eprintln!("{} was not delivered: {why}", printable(&id)));
            }
            // Pruned a moment ago.
            None => {}
        }
    }
    progress.finish_and_clear();
    let plural = if delivered == 1 { "" } else { "s" };
    writeln!(output, "redelivered {delivered} event{plural}")?;
    output.flush()?;
    if !ended.is_empty() {
        end(&deps.dir, &deps.clock, Verb::Confirm, &ended).await?;
    }
    if failed > 0 { Err(CommandError::Undelivered { failed, all: delivered + failed }) } else { Ok(()) }
}

/// Why an event was not delivered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Undelivered {
    #[error("the backend answered {0}, and not that it has received it")]
    Refused(StatusCode),
    #[error(transparent)]
    NoResponse(NoResponse),
    #[error("not tried, since there is no connection to the backend")]
    NotTried,
}

struct Courier<'a> {
    backend: Backend,
    deps: &'a Deps,
    /// There was no connection, not even after some tries: the others need not wait for that too.
    disconnected: AtomicBool,
}

impl Courier<'_> {
    async fn deliver(&self, entry: Entry) -> Result<(), Undelivered> {
        let Deps { clock, rng, .. } = self.deps;
        let event = Event {
            id: entry.event_id,
            event_type: entry.event_type,
            request_id: RequestId::adopt(Some(&entry.request_id), clock.now(), rng),
            received_at: entry.received_at,
            trace: None,
            body: entry.body,
        };
        for tries in 1.. {
            if self.disconnected.load(Ordering::Relaxed) {
                return Err(Undelivered::NotTried);
            }
            let undelivered = match self.backend.deliver(&event).await {
                Outcome::Confirmed => return Ok(()),
                Outcome::Refused(status, _) => Undelivered::Refused(status),
                Outcome::Unanswered(why) => Undelivered::NoResponse(why),
            };
            if tries == TRIES_MAX || !may_pass(&undelivered) {
                if undelivered == Undelivered::NoResponse(NoResponse::NotConnected) {
                    self.disconnected.store(true, Ordering::Relaxed);
                }
                return Err(undelivered);
            }
            sleep(RETRY_DELAYS.after(tries, rng)).await;
        }
        unreachable!("the last try returns")
    }
}

/// Whether it may well work a moment later. A 500 is not of that kind: the backend has stored the event and tries it
/// itself, and until then answers the same.
fn may_pass(undelivered: &Undelivered) -> bool {
    match undelivered {
        Undelivered::Refused(status) => matches!(
            *status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        ),
        Undelivered::NoResponse(_) => true,
        Undelivered::NotTried => false,
    }
}

/// A bar on a terminal, and nothing where standard error is none.
fn progress(events: usize) -> ProgressBar {
    let bar = "{wide_bar} {pos} of {len} events, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(bar).expect("the template names fields that there are");
    ProgressBar::new(events as u64).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_the_backend_has_judged_is_not() {
        let refused = |status: u16| Undelivered::Refused(StatusCode::from_u16(status).unwrap());
        for status in [429, 502, 503, 504] {
            assert!(may_pass(&refused(status)), "{status}");
        }
        for status in [200, 202, 301, 400, 403, 404, 413, 500] {
            assert!(!may_pass(&refused(status)), "{status}");
        }
        assert!(may_pass(&Undelivered::NoResponse(NoResponse::NotConnected)));
        assert!(!may_pass(&Undelivered::NotTried));
    }
}
