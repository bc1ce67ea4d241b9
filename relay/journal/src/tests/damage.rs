//! Bytes that cannot be read are never taken for nothing.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sim::SimDisk;
use super::*;
use crate::disk::{Disk, File};

fn open_on(disk: &SimDisk, clock: &Clock) -> Journal {
    Journal::open_on(Arc::new(disk.clone()), None, Options::new("sim".into(), 14, u64::MAX), 4096, clock.clone())
        .unwrap()
}

fn names(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

/// A disk with several segments of confirmed entries, all under their first names.
async fn with_segments(clock: &Clock) -> SimDisk {
    let disk = SimDisk::default();
    let journal = open_on(&disk, clock);
    for number in 0..300 {
        append(&journal, &format!("evt_{number}"), clock).await;
    }
    let copy = disk.after_kill();
    journal.close().await;
    copy
}

#[tokio::test]
async fn a_segment_of_zeros_is_damaged_and_never_confirmed() {
    let clock = clock();
    let disk = with_segments(&clock).await;
    let first = names(&disk)[0].clone();
    let bytes = disk.bytes_of(&first).len();
    disk.put(&first, &vec![0; bytes]);

    let journal = open_on(&disk, &clock);
    assert_eq!(journal.stats().damaged_bytes, bytes as u64);
    for position in journal.unconfirmed_after(None, usize::MAX) {
        journal.confirm(position);
    }
    journal.flush().await.unwrap();
    let archived = |journal: &Journal| journal.0.0.state().index.segments.values().filter(|it| it.archived).count();
    kept(&journal, |_| archived(&journal) > 0).await;
    journal.close().await;
    assert!(names(&disk).contains(&first), "it keeps its name: {:?}", names(&disk));
    // Each start says so, until someone has looked at it.
    assert_eq!(open_on(&disk, &clock).stats().damaged_bytes, bytes as u64);
    let selected = Reader::over(Box::new(disk.clone()), Path::new("sim")).select(&Selection::default()).unwrap();
    assert!(!selected.is_empty());
}

#[tokio::test]
async fn a_damaged_segment_is_kept_when_all_that_can_be_read_of_it_is_confirmed() {
    let clock = clock();
    let disk = with_segments(&clock).await;
    let first = names(&disk)[0].clone();
    let mut bytes = disk.bytes_of(&first);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.put(&first, &bytes);
    let journal = open_on(&disk, &clock);
    assert!(journal.stats().damaged_bytes > 0);
    for position in journal.unconfirmed_after(None, usize::MAX) {
        journal.confirm(position);
    }
    let archived = |journal: &Journal| journal.0.0.state().index.segments.values().filter(|it| it.archived).count();
    kept(&journal, |_| archived(&journal) > 0).await;
    journal.close().await;
    assert!(names(&disk).contains(&first), "{:?}", names(&disk));
}

#[tokio::test]
async fn what_is_cut_off_as_torn_is_kept_aside_for_a_while() {
    let clock = clock();
    let disk = SimDisk::default();
    let journal = open_on(&disk, &clock);
    append(&journal, "evt_1", &clock).await;
    let last = append(&journal, "evt_2", &clock).await;
    journal.close().await;
    let name = names(&disk)[0].clone();
    let mut bytes = disk.bytes_of(&name);
    let end = bytes.len();
    bytes[end - 5] ^= 1;
    disk.put(&name, &bytes);

    let journal = open_on(&disk, &clock);
    assert_eq!(unconfirmed(&journal), ["evt_1"]);
    let aside = names(&disk).into_iter().find(|name| name.starts_with("torn-")).expect("there is a file of it");
    assert_eq!(disk.bytes_of(&aside), bytes[last.offset() as usize..]);
    journal.close().await;

    // It goes when a confirmed entry of its age would.
    clock.advance(Duration::from_secs(15 * 86_400));
    let options = Options { clock_jump_delay: Duration::ZERO, ..Options::new("sim".into(), 14, u64::MAX) };
    let journal = Journal::open_on(Arc::new(disk.clone()), None, options, 4096, clock.clone()).unwrap();
    kept(&journal, |_| !names(&disk).contains(&aside)).await;
}

#[tokio::test]
async fn what_cannot_be_kept_aside_is_not_cut_off() {
    let clock = clock();
    let disk = SimDisk::default();
    let journal = open_on(&disk, &clock);
    append(&journal, "evt_1", &clock).await;
    append(&journal, "evt_2", &clock).await;
    journal.close().await;
    let name = names(&disk)[0].clone();
    let mut bytes = disk.bytes_of(&name);
    let end = bytes.len();
    bytes[end - 5] ^= 1;
    disk.put(&name, &bytes);
    disk.set_room(Some(disk.used()));

    let journal = open_on(&disk, &clock);
    assert_eq!(disk.bytes_of(&name), bytes);
    assert!(journal.stats().damaged_bytes > 0 && !journal.stats().can_append);
    disk.set_room(None);
    append(&journal, "evt_3", &clock).await;
    assert_eq!(unconfirmed(&journal), ["evt_1", "evt_3"]);
    journal.close().await;
}

#[tokio::test]
async fn a_clock_that_is_far_ahead_for_a_moment_removes_nothing() {
    let clock = clock();
    let disk = with_segments(&clock).await;
    let journal = open_on(&disk, &clock);
    for position in journal.unconfirmed_after(None, usize::MAX) {
        journal.confirm(position);
    }
    let archived = |journal: &Journal| journal.0.0.state().index.segments.values().filter(|it| it.archived).count();
    kept(&journal, |_| archived(&journal) > 5).await;
    let before = names(&disk).len();
    clock.advance(Duration::from_secs(15 * 86_400));
    // Sealing goes by the same clock, and shows that it was looked at.
    kept(&journal, |stats| stats.segments as usize > before).await;
    assert!(names(&disk).len() > before, "{:?}", names(&disk));
    journal.close().await;
    // Nor does a start at such a moment.
    let journal = open_on(&disk, &clock);
    let shared = &journal.0.0;
    for _ in 0..100 {
        shared.wake_maintenance(&mut shared.state());
        tokio::task::yield_now().await;
    }
    journal.close().await;
    assert!(names(&disk).len() > before);
}

/// Counts how often the folder is read.
struct Counting {
    disk: SimDisk,
    lists: Arc<AtomicUsize>,
}

impl Disk for Counting {
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.disk.list()
    }

    fn create(&self, name: &str) -> std::io::Result<Box<dyn File>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str, write: bool) -> std::io::Result<Box<dyn File>> {
        self.disk.open(name, write)
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> std::io::Result<()> {
        self.disk.sync_names()
    }
}

#[tokio::test]
async fn the_folder_is_read_once_however_many_segments_there_are() {
    let clock = clock();
    let disk = with_segments(&clock).await;
    assert!(names(&disk).len() > 3);
    let lists = Arc::new(AtomicUsize::new(0));
    let counting = Counting { disk, lists: Arc::clone(&lists) };
    let mut reader = Reader::over(Box::new(counting), Path::new("sim"));
    let found = reader.select(&Selection::default()).unwrap();
    for found in &found {
        reader.entry(found).unwrap().unwrap();
    }
    assert_eq!(found.len(), 300);
    assert_eq!(lists.load(Ordering::Relaxed), 2, "once to select, once to read");
}
