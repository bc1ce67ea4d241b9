//! Every interleaving of those who learn what became of an event and those who wait for it.
//!
//! The very file of the forwarder is compiled here once more, with a lock that tries each order of events instead of the
//! one that happens to come.

#[allow(unreachable_pub, reason = "in the library it can be reached")]
#[path = "../src/forwarder/progress.rs"]
mod progress;

mod sync {
    pub(super) use loom::sync::Mutex;
}

use std::sync::Arc;

use loom::future::block_on;
use loom::thread;
use progress::Progress;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Confirmed,
    Refused,
}

#[test]
fn who_waits_for_the_outcome_never_misses_it() {
    loom::model(|| {
        let progress = Arc::new(Progress::<Position, Outcome>::new());
        let forwarding = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || progress.set_forwarded(Outcome::Confirmed))
        };
        // A wake-up that is lost leaves nobody who could go on, and the model says so.
        assert_eq!(block_on(progress.wait_until(|known| known.forwarded)), Outcome::Confirmed);
        assert_eq!(forwarding.join().unwrap(), None);
    });
}

#[test]
fn who_waits_for_whatever_comes_first_never_misses_it() {
    loom::model(|| {
        let progress = Arc::new(Progress::<Position, Outcome>::new());
        let (persisting, forwarding) = (Arc::clone(&progress), Arc::clone(&progress));
        let persisting = thread::spawn(move || persisting.set_persisted(Position(7)));
        let forwarding = thread::spawn(move || forwarding.set_forwarded(Outcome::Refused));
        block_on(progress.wait_until(|known| (known.persisted.is_some() || known.forwarded.is_some()).then_some(())));
        let both = block_on(progress.wait_until(|known| known.persisted.zip(known.forwarded)));
        assert_eq!(both, (Position(7), Outcome::Refused));
        // Whoever brings the second of the two acts on both, and nobody else does.
        let acting = [persisting.join().unwrap(), forwarding.join().unwrap()];
        assert_eq!(acting.into_iter().flatten().collect::<Vec<_>>(), [(Position(7), Outcome::Refused)]);
    });
}
