//! Every operation on the disk fails once, each in its turn, in every way, for a moment and for good; after each, the
//! machine may lose its power. What must hold is always the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use tollgate_shared::Rng;

use super::sim::{Fault, FaultKind, SimDisk};
use super::*;
use crate::reader::{Reader, Selection};
use crate::state::Append;

const SEGMENT_BYTES: u64 = 4096;

/// What the outside was told.
#[derive(Default)]
struct Told {
    /// By id: its body.
    kept: BTreeMap<String, String>,
    /// Asked for, whether or not it reached the disk.
    confirmed: BTreeSet<String>,
    /// And synced.
    confirmed_for_good: BTreeSet<String>,
}

fn open_sim(disk: &SimDisk, clock: &Clock) -> Result<Journal, OpenError> {
    let options = Options::new("sim".into(), 14, 40_000);
    Journal::open_on(Arc::new(disk.clone()), None, options, SEGMENT_BYTES, clock.clone())
}

fn body(id: &str, bytes: usize) -> String {
    format!(r#"{{"id":"{id}","pad":"{}"}}"#, "x".repeat(bytes))
}

/// Events of all sizes, most of them confirmed; every seventh stays.
async fn work(journal: &Journal, name: &str, told: &mut Told, clock: &Clock) {
    for number in 0..40_usize {
        let id = format!("evt_{name}_{number}");
        let body = body(&id, number * number * 3 % 1500);
        let Ok(position) = journal.append(entry(&id, &body, clock)).await else { continue };
        told.kept.insert(id.clone(), body);
        if number % 7 == 0 {
            journal.attempted(position);
        } else {
            told.confirmed.insert(id);
            journal.confirm(position);
        }
        if number % 10 == 9 && journal.flush().await.is_ok() {
            told.confirmed_for_good.clone_from(&told.confirmed);
        }
    }
}

/// What a journal on `disk` gives after a start, against what the outside was told.
fn check(disk: &SimDisk, told: &Told, clock: &Clock, what: &str) -> Journal {
    let journal = open_sim(disk, clock).unwrap_or_else(|error| panic!("{what}: {error}"));
    let waiting: BTreeMap<_, _> = journal
        .unconfirmed_after(None, usize::MAX)
        .into_iter()
        .map(|position| journal.read(position).unwrap())
        .map(|entry| (entry.event_id, entry.body))
        .collect();
    for (id, body) in &told.kept {
        if !told.confirmed.contains(id) {
            let kept = waiting.get(id).unwrap_or_else(|| panic!("{what}: {id} was answered for and is not waiting"));
            assert_eq!(kept, body.as_bytes(), "{what}");
        }
    }
    for id in &told.confirmed_for_good {
        assert!(!waiting.contains_key(id), "{what}: {id} was confirmed, and would be delivered again");
    }
    // A command sees the same.
    let mut reader = Reader::over(Box::new(disk.clone()), Path::new("sim"));
    for found in reader.select(&Selection::default()).unwrap() {
        // The maintenance may have pruned it in between.
        let Some(entry) = reader.entry(&found).unwrap() else { continue };
        let asked = told.confirmed.contains(&entry.event_id);
        assert!(!found.confirmed || asked, "{what}: {} is confirmed, and nobody said so", entry.event_id);
    }
    journal
}

async fn every_operation_fails_once(kind: FaultKind, stays: bool) {
    let rng = Rng::seeded(7);
    let mut at_operation = 0;
    loop {
        at_operation += 1;
        let what = format!("{kind:?} at operation {at_operation}, stays: {stays}");
        let (disk, clock, mut told) = (SimDisk::default(), clock(), Told::default());
        let before = open_sim(&disk, &clock).unwrap();
        work(&before, "before", &mut told, &clock).await;
        before.close().await;
        told.confirmed_for_good.clone_from(&told.confirmed);

        let begun = disk.operations();
        disk.set_fault(Some(Fault { at_operation: begun + at_operation, kind, stays }));
        if let Ok(journal) = open_sim(&disk, &clock) {
            work(&journal, "during", &mut told, &clock).await;
            let struck = disk.operations() >= begun + at_operation;
            disk.set_fault(None);
            // The fault is gone: the same process takes events again, and says so.
            append_again(&journal, &mut told, &clock, &what).await;
            // As it would be found after the power was cut right now, some five times over.
            for _ in 0..5 {
                let cut = disk.after_power_cut(|| rng.unit() < 0.5);
                check(&cut, &told, &clock, &format!("{what}, power cut")).close().await;
            }
            check(&disk.after_kill(), &told, &clock, &format!("{what}, killed")).close().await;
            journal.close().await;
            if !struck {
                break;
            }
        }
        disk.set_fault(None);
        let journal = check(&disk, &told, &clock, &what);
        append_again(&journal, &mut told, &clock, &what).await;
        journal.close().await;
    }
    assert!(at_operation > 100, "the work is done in {at_operation} operations");
}

async fn append_again(journal: &Journal, told: &mut Told, clock: &Clock, what: &str) {
    let id = format!("evt_again_{}", told.kept.len());
    let body = body(&id, 100);
    let appended = journal.append(entry(&id, &body, clock)).await;
    assert!(appended.is_ok(), "{what}: {appended:?}");
    assert!(journal.stats().can_append, "{what}");
    told.kept.insert(id, body);
}

#[tokio::test]
async fn any_operation_may_fail_once() {
    every_operation_fails_once(FaultKind::Error, false).await;
}

#[tokio::test]
async fn any_operation_may_be_the_first_to_fail_for_good() {
    every_operation_fails_once(FaultKind::Error, true).await;
}

#[tokio::test]
async fn any_write_may_be_torn() {
    every_operation_fails_once(FaultKind::Torn, false).await;
}

#[tokio::test]
async fn any_write_may_be_torn_and_nothing_work_after_it() {
    every_operation_fails_once(FaultKind::Torn, true).await;
}

#[tokio::test]
async fn any_write_may_come_short() {
    every_operation_fails_once(FaultKind::Short, false).await;
}

#[tokio::test]
async fn the_disk_may_be_full_at_any_operation() {
    every_operation_fails_once(FaultKind::NoRoom, true).await;
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_takes_events_again_when_there_is_room() {
    let (disk, clock) = (SimDisk::default(), clock());
    let journal = open_sim(&disk, &clock).unwrap();
    let first = append(&journal, "evt_1", &clock).await;
    disk.set_room(Some(disk.used()));
    let big = body("evt_2", 20_000);
    let refused = journal.append(entry("evt_2", &big, &clock)).await;
    assert!(matches!(refused, Err(AppendError::Full)), "{refused:?}");
    let stats = journal.stats();
    assert!(!stats.can_append && stats.failures == 1);
    assert_eq!(stats.last_failure.as_deref(), Some("no room left on the disk"));
    assert_eq!(unconfirmed(&journal), ["evt_1"]);

    // A confirmation that cannot be written is kept for later.
    journal.confirm(first);
    disk.set_room(None);
    journal.append(entry("evt_2", &big, &clock)).await.unwrap();
    assert!(journal.stats().can_append);
    journal.close().await;
    assert_eq!(unconfirmed(&open_sim(&disk, &clock).unwrap()), ["evt_2"]);
}

#[tokio::test]
async fn a_disk_that_works_again_is_found_out_without_an_append() {
    let (disk, clock) = (SimDisk::default(), clock());
    let journal = open_sim(&disk, &clock).unwrap();
    disk.set_room(Some(disk.used()));
    journal.append(entry("evt_1", &body("evt_1", 20_000), &clock)).await.unwrap_err();
    assert!(!journal.stats().can_append);
    disk.set_room(None);
    let probed = tokio::time::timeout(Duration::from_secs(30), async {
        while !journal.stats().can_append {
            tokio::task::yield_now().await;
        }
    });
    assert!(probed.await.is_ok());
}

#[tokio::test]
async fn after_a_sync_that_failed_nothing_more_is_written_to_that_segment() {
    let (disk, clock) = (SimDisk::default(), clock());
    let journal = open_sim(&disk, &clock).unwrap();
    let first = append(&journal, "evt_1", &clock).await;
    // An append is a write and a sync: space was set aside before.
    disk.set_fault(Some(Fault { at_operation: disk.operations() + 2, kind: FaultKind::Error, stays: false }));
    let refused = journal.append(entry("evt_2", "{}", &clock)).await;
    assert!(matches!(refused, Err(AppendError::Io(_))), "{refused:?}");
    let third = append(&journal, "evt_3", &clock).await;
    assert!(third.segment() > first.segment());
    journal.close().await;
    assert_eq!(unconfirmed(&open_sim(&disk.after_kill(), &clock).unwrap()), ["evt_1", "evt_3"]);
    let lost = disk.after_power_cut(|| false);
    assert_eq!(unconfirmed(&open_sim(&lost, &clock).unwrap()), ["evt_1", "evt_3"]);
}

#[tokio::test]
async fn what_a_torn_write_left_is_taken_back() {
    let (disk, clock) = (SimDisk::default(), clock());
    let journal = open_sim(&disk, &clock).unwrap();
    append(&journal, "evt_1", &clock).await;
    disk.set_fault(Some(Fault { at_operation: disk.operations() + 1, kind: FaultKind::Torn, stays: false }));
    // In one commit, of which the half that is written holds the whole of the first.
    let queued = |id: &str, bytes| {
        let (answer, answered) = oneshot::channel();
        (Append { entry: entry(id, &body(id, bytes), &clock), answer, permits: 0 }, answered)
    };
    let ((small, small_answered), (big, big_answered)) = (queued("evt_2", 10), queued("evt_3", 1000));
    let shared = &journal.0.0;
    shared.state().queue.appends.extend([small, big]);
    shared.work.notify_one();
    for answered in [small_answered, big_answered] {
        assert!(matches!(answered.await.unwrap(), Err(AppendError::Io(_))));
    }
    assert_eq!(unconfirmed(&open_sim(&disk.after_kill(), &clock).unwrap()), ["evt_1"]);
    append(&journal, "evt_4", &clock).await;
    assert_eq!(unconfirmed(&journal), ["evt_1", "evt_4"]);
}

/// Waits until `done` holds of how the journal is.
async fn wait_until(journal: &Journal, done: impl Fn(&Stats) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !done(&journal.stats()) {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", journal.stats());
}

#[tokio::test]
async fn a_disk_with_room_for_a_little_only_is_full_all_the_time() {
    let (disk, clock) = (SimDisk::default(), clock());
    let journal = open_sim(&disk, &clock).unwrap();
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(append(&journal, &format!("evt_{number}"), &clock).await);
    }
    disk.set_room(Some(disk.used() + 300));
    let refused = journal.append(entry("evt_big", &body("evt_big", 20_000), &clock)).await;
    assert!(matches!(refused, Err(AppendError::Full)), "{refused:?}");
    // Confirmations and short events still fit, and a look at the disk once a second does too.
    for (number, position) in positions.into_iter().enumerate() {
        journal.confirm(position);
        journal.flush().await.unwrap();
        assert!(!journal.stats().can_append, "after confirmation {number}");
    }
    let operations = disk.operations();
    wait_until(&journal, |_| disk.operations() > operations + 2).await;
    assert!(!journal.stats().can_append);
    disk.set_room(None);
    wait_until(&journal, |stats| stats.can_append).await;
}

#[tokio::test]
async fn a_start_on_a_full_disk_waits_for_room() {
    let (disk, clock) = (SimDisk::default(), clock());
    disk.set_room(Some(0));
    let journal = open_sim(&disk, &clock).unwrap();
    let stats = journal.stats();
    assert!(!stats.can_append && stats.last_failure_at.is_some());
    disk.set_room(None);
    wait_until(&journal, |stats| stats.can_append).await;
    append(&journal, "evt_1", &clock).await;
}
