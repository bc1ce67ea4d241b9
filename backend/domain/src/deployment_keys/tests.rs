//! Keys are made once and outlive a roll of `ENCRYPTION_KEY`.

use tollgate_shared::clock::from_unix;
use tollgate_shared::{Rng, Secrets};

use super::*;

const OLD: &str = "an old key of thirty-two letters";
const NEW: &str = "a newer key of forty-one letters in total";

fn sealer(secrets: &[&str]) -> Sealer {
    Sealer::new(&Secrets::parse(&secrets.join(",")).unwrap())
}

/// A database's rows as they are made under `secret`.
fn rows(secret: &str) -> Vec<StoredDeploymentKey> {
    let (sealer, rng) = (sealer(&[secret]), Rng::seeded(1));
    let row = |(name, byte): (&str, u8)| StoredDeploymentKey {
        name: name.to_owned(),
        sealed: sealer.seal(&seal_context(name), &[byte; KEY_BYTES], &rng),
        created_at: from_unix(1).unwrap(),
    };
    [(FINGERPRINT, 1), (LEASE, 2)].map(row).into()
}

fn work(rows: Vec<StoredDeploymentKey>) -> UnitOfWork {
    let mut work = UnitOfWork::new(from_unix(2).unwrap(), Rng::seeded(2));
    work.add_loaded(rows);
    work
}

/// What both keys do.
fn deeds(keys: &DeploymentKeys) -> (String, String) {
    (keys.fingerprint.hash("lic_1", "a machine"), keys.lease.sign(&"a lease"))
}

#[test]
fn keys_are_the_same_after_each_step_of_a_roll() {
    let old = rows(OLD);
    let (keys, is_current) = DeploymentKeys::of_rows(&old, &sealer(&[OLD])).unwrap().unwrap();
    assert!(is_current);

    let during = sealer(&[NEW, OLD]);
    assert!(!DeploymentKeys::of_rows(&old, &during).unwrap().unwrap().1);
    let mut work = work(old.clone());
    assert_eq!(deeds(&open(&mut work, &during).unwrap()), deeds(&keys));

    let new: Vec<StoredDeploymentKey> = work.all().cloned().collect();
    let (after, is_current) = DeploymentKeys::of_rows(&new, &sealer(&[NEW])).unwrap().unwrap();
    assert!(is_current);
    assert_eq!(deeds(&after), deeds(&keys));
    assert!(new.iter().zip(&old).all(|(new, old)| new.created_at == old.created_at));
}

#[test]
fn under_another_key_nothing_opens_and_nothing_is_changed() {
    let mut work = work(rows(OLD));
    let refusal = open(&mut work, &sealer(&[NEW])).unwrap_err();
    assert!(refusal.to_string().contains("another ENCRYPTION_KEY"), "{refusal}");
    assert_eq!(work.all::<StoredDeploymentKey>().cloned().collect::<Vec<_>>(), rows(OLD));
}

#[test]
fn one_key_cannot_be_passed_off_as_the_other() {
    let mut rows = rows(OLD);
    let lease = rows[1].sealed.clone();
    rows[0].sealed = lease;
    assert_eq!(DeploymentKeys::of_rows(&rows, &sealer(&[OLD])).unwrap_err(), Unopenable { name: FINGERPRINT });
}

#[test]
fn while_a_key_is_missing_there_are_none() {
    let mut rows = rows(OLD);
    rows.pop();
    assert!(DeploymentKeys::of_rows(&rows, &sealer(&[OLD])).unwrap().is_none());
    // And what is there is still not to be replaced.
    assert_eq!(DeploymentKeys::of_rows(&rows, &sealer(&[NEW])).unwrap_err(), Unopenable { name: FINGERPRINT });
}
