//! The journal from outside: on a real folder, and on a disk that fails.

mod control;
mod damage;
mod faults;
mod properties;
mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, RequestId, Rng, Timestamp};

use crate::disk::Folder;
use crate::entry::{Entry, NewEntry, Position};
use crate::error::{AppendError, OpenError};
use crate::journal::Journal;
use crate::options::Options;
use crate::reader::{Found, Reader, Selection};
use crate::record;
use crate::stats::Stats;

pub(super) fn start() -> Timestamp {
    from_unix(1_700_000_000).unwrap()
}

pub(super) fn clock() -> Clock {
    Clock::manual(start())
}

pub(super) fn entry(id: &str, body: &str, clock: &Clock) -> NewEntry {
    NewEntry {
        event_id: id.to_owned(),
        event_type: "invoice.paid".to_owned(),
        received_at: clock.now(),
        request_id: RequestId::new(start(), &Rng::seeded(1)),
        body: Bytes::from(body.to_owned()),
    }
}

fn options(dir: &Path) -> Options {
    Options { clock_jump_delay: Duration::ZERO, ..Options::new(dir.to_owned(), 14, u64::MAX) }
}

fn open(dir: &TempDir, clock: &Clock) -> Journal {
    Journal::open(options(dir.path()), clock.clone()).unwrap()
}

/// With segments so small that a few entries fill one.
fn open_small(dir: &TempDir, clock: &Clock, bytes_max: u64) -> Journal {
    let folder = Folder::new(dir.path());
    let lock = folder.lock().unwrap();
    let options = Options { bytes_max, ..options(dir.path()) };
    Journal::open_on(Arc::new(folder), lock, options, 4096, clock.clone()).unwrap()
}

async fn append(journal: &Journal, id: &str, clock: &Clock) -> Position {
    journal.append(entry(id, &format!(r#"{{"id":"{id}","type":"invoice.paid"}}"#), clock)).await.unwrap()
}

fn unconfirmed(journal: &Journal) -> Vec<String> {
    let positions = journal.unconfirmed_after(None, usize::MAX);
    positions.into_iter().map(|position| journal.read(position).unwrap().event_id).collect()
}

fn listed(dir: &Path) -> Vec<(Entry, Found)> {
    let mut reader = Reader::new(dir);
    let found = reader.select(&Selection::default()).unwrap();
    found.into_iter().map(|found| (reader.entry(&found).unwrap().unwrap(), found)).collect()
}

/// Wakes the maintenance until `done`; it has no other sign of life.
async fn kept(journal: &Journal, done: impl Fn(&Stats) -> bool) {
    let shared = &journal.0.0;
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !done(&journal.stats()) {
            shared.wake_maintenance(&mut shared.state());
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "the maintenance did not get there: {:?}", journal.stats());
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_with_its_very_bytes() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let first = entry("evt_1", " {\"id\":\"evt_1\",\n\"type\":\"x\"} ", &clock);
    let position = journal.append(first.clone()).await.unwrap();
    journal.close().await;

    let entry = open(&dir, &clock).read(position).unwrap();
    assert_eq!(entry.body, first.body);
    assert_eq!(entry.event_id, "evt_1");
    assert_eq!(entry.event_type, "invoice.paid");
    assert_eq!(entry.received_at, start());
    assert_eq!(entry.request_id, first.request_id.as_str());
    assert!(!entry.confirmed);
}

#[tokio::test]
async fn a_confirmed_entry_is_not_waiting_after_a_clean_restart_and_an_unconfirmed_one_is() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let confirmed = append(&journal, "evt_1", &clock).await;
    append(&journal, "evt_2", &clock).await;
    let discarded = append(&journal, "evt_3", &clock).await;
    journal.confirm(confirmed);
    journal.confirm(confirmed);
    assert!(journal.discard(discarded));
    assert!(!journal.discard(discarded));
    journal.close().await;

    let journal = open(&dir, &clock);
    assert_eq!(unconfirmed(&journal), ["evt_2"]);
    assert!(journal.read(confirmed).unwrap().confirmed);
    assert_eq!(journal.stats().unconfirmed, 1);
    assert_eq!(journal.stats().oldest_unconfirmed_at, Some(start()));
}

#[tokio::test]
async fn positions_grow_in_order_of_arrival_across_restarts() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let mut positions = Vec::new();
    for round in 0..3 {
        let journal = open_small(&dir, &clock, u64::MAX);
        for number in 0..50 {
            positions.push(append(&journal, &format!("evt_{round}_{number}"), &clock).await);
        }
        journal.close().await;
    }
    assert!(positions.is_sorted_by(|one, next| one < next));
    let journal = open_small(&dir, &clock, u64::MAX);
    assert_eq!(journal.unconfirmed_after(None, usize::MAX), positions);
    assert_eq!(journal.unconfirmed_after(Some(positions[10]), 5), positions[11..16]);
}

#[tokio::test]
async fn many_appends_at_once_are_all_kept() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let appends: Vec<_> = (0..500)
        .map(|number| {
            let (journal, clock) = (journal.clone(), clock.clone());
            tokio::spawn(async move { append(&journal, &format!("evt_{number}"), &clock).await })
        })
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let ids: BTreeSet<_> = unconfirmed(&journal).into_iter().collect();
    assert_eq!(ids.len(), 500);
}

#[tokio::test]
async fn a_caller_that_goes_away_loses_nothing_that_was_queued() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    {
        let mut append = std::pin::pin!(journal.append(entry("evt_1", "{}", &clock)));
        // Polled once, it is queued; then it is dropped.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(append.as_mut().poll(context))).await;
        drop(polled);
    }
    journal.close().await;
    assert_eq!(unconfirmed(&open(&dir, &clock)), ["evt_1"]);
}

#[tokio::test]
async fn a_second_journal_on_the_same_folder_is_refused_until_the_first_is_closed() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let second = Journal::open(options(dir.path()), clock.clone());
    assert!(matches!(second, Err(OpenError::Locked(_))));
    journal.close().await;
    open(&dir, &clock);
}

#[tokio::test]
async fn a_closed_journal_refuses() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    journal.close().await;
    journal.close().await;
    assert!(matches!(journal.append(entry("evt_1", "{}", &clock)).await, Err(AppendError::Closed)));
    assert!(matches!(journal.flush().await, Err(AppendError::Closed)));
    assert!(!journal.stats().can_append);
}

#[tokio::test]
async fn a_confirmation_is_written_without_another_append() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let position = append(&journal, "evt_1", &clock).await;
    journal.confirm(position);
    journal.flush().await.unwrap();
    // As after `kill -9`: the first journal is not closed.
    assert!(listed(dir.path())[0].1.confirmed);
}

#[tokio::test]
async fn attempts_are_counted_across_a_restart() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let position = append(&journal, "evt_1", &clock).await;
    for _ in 0..3 {
        journal.attempted(position);
    }
    assert_eq!(journal.read(position).unwrap().attempts, 3);
    journal.close().await;
    let journal = open(&dir, &clock);
    assert_eq!(journal.read(position).unwrap().attempts, 3);
    journal.confirm(position);
    journal.attempted(position);
    journal.close().await;
    assert_eq!(listed(dir.path())[0].1.attempts(), 4, "three that failed and the one that did not");
}

#[tokio::test]
async fn a_million_attempts_on_an_event_take_no_million_records() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let position = append(&journal, "evt_1", &clock).await;
    journal.flush().await.unwrap();
    let before = journal.0.0.state().queue.statuses.attempted.len();
    let shared = &journal.0.0;
    for _ in 0..160 {
        journal.attempted(position);
    }
    let queued = shared.state().queue.statuses.attempted.len();
    assert!(queued <= before + 16 + 9, "{queued}");
}

#[tokio::test]
async fn segments_that_are_confirmed_are_not_read_by_a_start_and_a_stuck_entry_keeps_only_its_own() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open_small(&dir, &clock, u64::MAX);
    let stuck = append(&journal, "evt_stuck", &clock).await;
    for number in 0..200 {
        let position = append(&journal, &format!("evt_{number}"), &clock).await;
        journal.attempted(stuck);
        journal.confirm(position);
    }
    let archived = |journal: &Journal| journal.0.0.state().index.segments.values().filter(|it| it.archived).count();
    kept(&journal, |_| archived(&journal) as u64 + 2 == journal.stats().segments).await;
    assert!(archived(&journal) > 5);
    journal.close().await;

    // What the archived segments said of the stuck one's neighbours was carried over: only it is waiting.
    let journal = open_small(&dir, &clock, u64::MAX);
    assert_eq!(unconfirmed(&journal), ["evt_stuck"]);
    assert!(journal.read(stuck).unwrap().attempts >= 192);
    assert_eq!(listed(dir.path()).iter().filter(|(_, found)| !found.confirmed).count(), 1);
    assert_eq!(listed(dir.path()).len(), 201);
}

#[tokio::test]
async fn pruning_by_size_takes_confirmed_entries_and_never_an_unconfirmed_one() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open_small(&dir, &clock, 20_000);
    append(&journal, "evt_stuck", &clock).await;
    for number in 0..500 {
        let position = append(&journal, &format!("evt_{number}"), &clock).await;
        journal.confirm(position);
    }
    kept(&journal, |stats| stats.bytes <= 20_000).await;
    assert_eq!(unconfirmed(&journal), ["evt_stuck"]);
    journal.close().await;
    let left = listed(dir.path());
    assert_eq!(left[0].0.event_id, "evt_stuck");
    assert_eq!(left.last().unwrap().0.event_id, "evt_499");
    assert!(left.len() < 200, "{}", left.len());
    assert_eq!(unconfirmed(&open_small(&dir, &clock, 20_000)), ["evt_stuck"]);
}

#[tokio::test]
async fn pruning_by_age_takes_what_is_too_old_even_at_a_few_events_a_day() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let hour = Duration::from_secs(3600);
    for day in 0..30 {
        let position = append(&journal, &format!("evt_{day}"), &clock).await;
        if day != 3 {
            journal.confirm(position);
        }
        journal.flush().await.unwrap();
        clock.advance(25 * hour);
        // The segment is a day old now: it is sealed.
        let before = journal.stats().segments;
        let shared = &journal.0.0;
        let opened = || shared.state().index.segments.keys().next_back().copied();
        let last = opened();
        kept(&journal, |_| opened() > last).await;
        assert!(journal.stats().segments <= before + 1);
    }
    kept(&journal, |stats| stats.segments <= 17).await;
    journal.close().await;
    let left: Vec<_> = listed(dir.path()).into_iter().map(|(entry, _)| entry.event_id).collect();
    assert_eq!(left[0], "evt_3", "the unconfirmed one is kept");
    assert_eq!(left.last().unwrap(), "evt_29");
    assert!(!left.contains(&"evt_4".to_owned()) && left.contains(&"evt_18".to_owned()), "{left:?}");
}

#[tokio::test]
async fn a_restart_while_the_clock_is_far_ahead_prunes_nothing() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    // As it really is: a clock that has jumped has to stay there for an hour.
    let open = || {
        let folder = Folder::new(dir.path());
        let lock = folder.lock().unwrap();
        let options = Options::new(dir.path().to_owned(), 14, u64::MAX);
        Journal::open_on(Arc::new(folder), lock, options, 4096, clock.clone()).unwrap()
    };
    let confirm_all = async |journal: &Journal, ids: std::ops::Range<u32>| {
        for id in ids {
            let position = append(journal, &format!("evt_{id}"), &clock).await;
            journal.confirm(position);
        }
        journal.flush().await.unwrap();
    };
    let journal = open();
    confirm_all(&journal, 0..100).await;
    journal.close().await;
    let segments = std::fs::read_dir(dir.path()).unwrap().count();

    // Set to a wrong time, and an event comes, which is stamped with that.
    clock.advance(Duration::from_hours(15 * 24));
    for restart in 0..2 {
        let journal = open();
        confirm_all(&journal, 100 + restart * 100..200 + restart * 100).await;
        let archived = |journal: &Journal| journal.0.0.state().index.segments.values().filter(|it| it.archived).count();
        // All but the one that is written to: whoever archives them also prunes, right after that.
        kept(&journal, |stats| archived(&journal) as u64 + 1 == stats.segments).await;
        journal.close().await;
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().count() > segments);
    let left: BTreeSet<_> = listed(dir.path()).into_iter().map(|(entry, _)| entry.event_id).collect();
    assert_eq!(left.len(), 300, "{left:?}");
}

#[tokio::test]
async fn a_journal_of_a_later_format_is_not_touched() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let disk = sim::SimDisk::default();
    let mut segment = Vec::new();
    record::push_opened(&mut segment, 1, start());
    // The same record under version 2, summed up again.
    let mut later = segment.clone();
    later[record::HEADER_BYTES] = 2;
    let crc = crc32fast::hash(&later[record::HEADER_BYTES..]);
    later[8..12].copy_from_slice(&crc.to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&Position::new(1, 0).0.to_le_bytes());
    sum.update(&later[8..record::HEADER_BYTES]);
    later[4..8].copy_from_slice(&sum.finalize().to_le_bytes());
    disk.put("journal-0000000001.log", &later);
    let opened = Journal::open_on(Arc::new(disk.clone()), None, options(dir.path()), 4096, clock);
    assert!(matches!(opened, Err(OpenError::OtherVersion { version: 2, .. })), "{opened:?}");
    assert_eq!(disk.bytes_of("journal-0000000001.log"), later);
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (parent, clock) = (TempDir::new().unwrap(), clock());
    let dir = parent.path().join("data/relay");
    let journal = Journal::open(options(&dir), clock.clone()).unwrap();
    append(&journal, "evt_1", &clock).await;
    journal.serve_control().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
