//! What a signature costs to check, beside the hash in it.

use std::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;
use tollgate_shared::signing::{self, Verifier};
use tollgate_shared::{Clock, Secret};

use crate::Effort;
use crate::budget::{Budget, Figure, Limit};

/// As the limit says.
const EVENT_BYTES: usize = 4096;

/// Checks a round, whatever the load: some tens of milliseconds.
const CHECKS: u32 = 5_000;

pub(crate) fn measure(effort: Effort) -> Vec<Budget> {
    let secret = Secret::new(format!("whsec_{}", "5".repeat(32)));
    let body = vec![b'x'; EVENT_BYTES];
    let now = Clock::system().now();
    let header = signing::sign(&secret, now.timestamp(), &body);
    let key = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    let verifier = Verifier::new(&secret.into());

    let (mut verified, mut bare) = (Figure::default(), Figure::default());
    // The first round warms up and does not count.
    for round in 0..=effort.rounds * 4 {
        let started = Instant::now();
        for _ in 0..CHECKS {
            black_box(verifier.verify(black_box(&header), black_box(&body), now)).expect("it was signed above");
        }
        let checked = started.elapsed();
        let started = Instant::now();
        for _ in 0..CHECKS {
            let mut mac = key.clone();
            mac.update(black_box(&body));
            black_box(mac.finalize());
        }
        if round > 0 {
            verified.push(checked.as_secs_f64() * 1e6 / f64::from(CHECKS));
            bare.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS));
        }
    }
    vec![Budget {
        name: "verify",
        what: "verify a 4 KB event",
        unit: "µs",
        measured: verified,
        reference: Some(("one bare HMAC-SHA256 over it", bare)),
        limit: Limit::AtMostTimes(1.3),
    }]
}
