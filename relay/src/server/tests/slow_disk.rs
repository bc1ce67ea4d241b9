//! A disk that takes its time to sync.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tollgate_journal::Journal;
use tollgate_journal::disk::{Disk, File, Folder};
use tollgate_journal::reader::{Reader, Selection};
use tollgate_shared::signing::Verifier;
use tollgate_shared::{Clock, RequestId, Rng};

use super::backend::{Backend, Reply, until, within};
use super::harness::{Setup, event};
use crate::backend::delivery;
use crate::backend::event::Event;
use crate::forwarder::{self, Forwarder};
use crate::intake::{Ack, Deps, Intake, RESPONSE_CODES};
use crate::metrics::Metrics;

/// Whether a sync comes to an end.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set_closed(&self, closed: bool) {
        *self.0.0.lock().unwrap() = closed;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |closed| *closed).unwrap());
    }
}

struct SlowDisk {
    folder: Folder,
    gate: Gate,
}

struct SlowFile {
    file: Box<dyn File>,
    gate: Gate,
}

impl SlowDisk {
    fn slow(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(SlowFile { file, gate: self.gate.clone() })
    }
}

impl Disk for SlowDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.folder.create(name).map(|file| self.slow(file))
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn File>> {
        self.folder.open(name, write).map(|file| self.slow(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_names()
    }
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        self.file.allocate(offset, bytes)
    }

    fn forget(&self, offset: u64, bytes: u64) {
        self.file.forget(offset, bytes);
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
}

/// An intake on a disk that syncs nothing until its gate is opened.
struct Stalled {
    intake: Intake,
    journal: Journal,
    gate: Gate,
    setup: Setup,
}

impl Stalled {
    fn with(backend: &Backend, ack: Ack) -> Self {
        let setup = Setup::with(backend, &[]);
        let (clock, rng, gate) = (Clock::system(), Rng::system(), Gate::default());
        let disk = SlowDisk { folder: Folder::new(setup.dir.path()), gate: gate.clone() };
        let journal = Journal::open_over(Arc::new(disk), setup.config.journal.clone(), clock.clone()).unwrap();
        let metrics = Arc::new(Metrics::new(1, &RESPONSE_CODES));
        let forwarder = Forwarder::start(forwarder::Deps {
            backend: delivery::Backend::new(&setup.config.backend, clock.clone(), rng.clone()).unwrap(),
            journal: journal.clone(),
            clock: clock.clone(),
            rng,
            metrics: Arc::clone(&metrics),
            bounds: setup.config.bounds,
        });
        let intake = Intake::new(Deps {
            verifier: Verifier::new(&setup.config.webhook_secrets),
            journal: journal.clone(),
            forwarder,
            metrics,
            clock,
            ack,
            deadline: Duration::from_secs(600),
            body_bytes_max: setup.config.body_bytes_max,
            body_timeouts: setup.config.limits.body,
            body_memory: setup.config.limits.body_memory,
        });
        gate.set_closed(true);
        Self { intake, journal, gate, setup }
    }

    async fn take(&self, event_type: &str) -> StatusCode {
        let now = Clock::system().now();
        let event = Event {
            id: "evt_1".into(),
            event_type: event_type.into(),
            request_id: RequestId::new(now, &Rng::system()),
            received_at: now,
            trace: None,
            body: Bytes::from(event("evt_1", event_type)),
        };
        self.intake.take_event(event).await.status()
    }

    /// Waits until the journal has the event and knows that it is confirmed.
    async fn wait_until_it_is_confirmed_on_disk(&self) {
        until(|| {
            let found = Reader::new(self.setup.dir.path()).select(&Selection::default()).unwrap();
            found.len() == 1 && found[0].confirmed
        })
        .await;
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        // The journal's thread must not wait forever.
        self.gate.set_closed(false);
    }
}

#[tokio::test]
async fn what_the_backend_has_confirmed_waits_for_no_disk() {
    for (ack, event_type) in
        [(Ack::Durable, "invoice.paid"), (Ack::Durable, "checkout.session.completed"), (Ack::Backend, "invoice.paid")]
    {
        let backend = Backend::start(|_| Reply::Confirm).await;
        let stalled = Stalled::with(&backend, ack);
        assert_eq!(within(stalled.take(event_type)).await, 200, "{ack:?} {event_type}");
        assert_eq!(stalled.journal.stats().unconfirmed, 0, "nothing is synced yet");
        stalled.gate.set_closed(false);
        stalled.wait_until_it_is_confirmed_on_disk().await;
        assert_eq!(backend.times("evt_1"), 1);
    }
}

#[tokio::test]
async fn what_the_backend_has_not_confirmed_waits_for_the_disk() {
    let backend = Backend::start(|_| Reply::Respond(500, String::new())).await;
    let stalled = Arc::new(Stalled::with(&backend, Ack::Durable));
    let taking = {
        let stalled = Arc::clone(&stalled);
        tokio::spawn(async move { stalled.take("checkout.session.completed").await })
    };
    backend.wait_for("evt_1", 1).await;
    assert!(!taking.is_finished());
    stalled.gate.set_closed(false);
    assert_eq!(within(taking).await.unwrap(), 200);
}
