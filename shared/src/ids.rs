//! Identifiers of our own: a prefix that says what it names, then a UUIDv7, so that a list in id order is in order of making.

use uuid::{Builder, Uuid};

use crate::clock::Timestamp;
use crate::rng::Rng;

/// A new id such as `lic_0192f0c1a2b37c4d8e5f60718293a4b5`; `prefix` is without the underscore.
pub fn new_id(prefix: &str, now: Timestamp, rng: &Rng) -> String {
    format!("{prefix}_{}", uuid_v7(now, rng).simple())
}

fn uuid_v7(now: Timestamp, rng: &Rng) -> Uuid {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &rng.bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix;

    #[test]
    fn ids_made_later_sort_later() {
        let rng = Rng::seeded(1);
        let at = |seconds| new_id("lic", from_unix(seconds).unwrap(), &rng);
        let (first, second) = (at(1_700_000_000), at(1_700_000_001));
        assert!(first.starts_with("lic_") && first.len() == 36);
        assert!(first < second);
    }
}
