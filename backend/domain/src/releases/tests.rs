//! What happens to releases, and who gets them.

use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::life::{NewFile, NewRelease, ReleaseError, claims_of, create, forget, publish, roll_out, store, withdraw};
use super::*;
use crate::audit::acts::ActedBy;
use crate::licenses::License;

fn now() -> Timestamp {
    from_unix(1_750_000_000).unwrap()
}

pub(super) fn release(version: &str) -> Release {
    Release {
        id: format!("rel_{version}"),
        channel: "latest".to_owned(),
        version: version.to_owned(),
        sort_key: version::sort_key(version).unwrap(),
        claims: Some(claims_of("latest", &version::sort_key(version).unwrap())),
        name: None,
        notes: None,
        rollout_percent: 100,
        feature: None,
        tiers: Json(Vec::new()),
        status: "published".to_owned(),
        created_at: now(),
        published_at: Some(now()),
        withdrawn_at: None,
        withdraw_reason: None,
    }
}

pub(super) fn file(name: &str, platform: Platform, arch: Arch) -> ReleaseFile {
    new_file(name, platform, arch).of("rel_1", 0)
}

fn new_file(name: &str, platform: Platform, arch: Arch) -> NewFile {
    NewFile { name: name.to_owned(), platform, arch, size: 7, sha512: "abc".to_owned(), block_map_size: None }
}

fn new(version: &str, files: &[&str]) -> NewRelease {
    NewRelease {
        channel: "latest".to_owned(),
        version: version.to_owned(),
        sort_key: version::sort_key(version).unwrap(),
        name: None,
        notes: None,
        rollout_percent: 100,
        feature: None,
        tiers: Vec::new(),
        files: files.iter().map(|name| new_file(name, Platform::Win, Arch::X64)).collect(),
    }
}

fn work() -> UnitOfWork {
    UnitOfWork::new(now(), Rng::seeded(1))
}

fn by() -> ActedBy {
    let reason = Some("it crashes".to_owned());
    ActedBy { actor: "ada".to_owned(), claimed_name: None, request_id: "req_1".to_owned(), reason }
}

#[test]
fn a_release_is_published_once_its_files_are_there() {
    let mut work = work();
    let (draft, files, is_new) = create(&mut work, &by(), &new("1.0.0", &["a.exe", "b.exe"])).unwrap();
    assert!(is_new);
    let missing =
        |names: &[&str]| Err(ReleaseError::FilesMissing(names.iter().map(|name| (*name).to_owned()).collect()));
    assert_eq!(publish(&mut work, &by(), &draft.id), missing(&["a.exe", "b.exe"]));
    store(&mut work, &by(), &files[0]).unwrap();
    assert_eq!(publish(&mut work, &by(), &draft.id), missing(&["b.exe"]));
    store(&mut work, &by(), &files[1]).unwrap();
    store(&mut work, &by(), &files[1]).unwrap();
    let published = publish(&mut work, &by(), &draft.id).unwrap();
    assert_eq!((&*published.status, published.published_at), ("published", Some(now())));
    assert_eq!(publish(&mut work, &by(), &draft.id), Ok(published));
}

#[test]
fn neither_a_version_nor_a_name_ever_has_other_bytes() {
    let mut work = work();
    let (first, files, _) = create(&mut work, &by(), &new("1.0.0", &["a.exe"])).unwrap();
    let again = create(&mut work, &by(), &new("1.0.0", &["a.exe"])).unwrap();
    assert_eq!((&again.0, again.2), (&first, false));
    assert_eq!(create(&mut work, &by(), &new("1.0.0", &["b.exe"])), Err(ReleaseError::VersionExists));
    store(&mut work, &by(), &files[0]).unwrap();
    let mut other = new("1.0.1", &["a.exe"]);
    assert!(create(&mut work, &by(), &other).is_ok(), "the same bytes may be of several");
    other = new("1.0.2", &["a.exe"]);
    "xyz".clone_into(&mut other.files[0].sha512);
    assert_eq!(create(&mut work, &by(), &other), Err(ReleaseError::FileExists));
    let changed = ReleaseFile { sha512: "xyz".to_owned(), ..files[0].clone() };
    assert_eq!(store(&mut work, &by(), &changed), Err(ReleaseError::FileExists));
}

#[test]
fn a_version_is_not_made_again_on_other_terms() {
    let mut work = work();
    let first = new("1.0.0+a", &["a.exe"]);
    let id = create(&mut work, &by(), &first).unwrap().0.id;
    for other in [
        NewRelease { version: "1.0.0+b".to_owned(), ..first.clone() },
        NewRelease { name: Some("One".to_owned()), ..first.clone() },
        NewRelease { notes: Some("New.".to_owned()), ..first.clone() },
        NewRelease { feature: Some("beta".to_owned()), ..first.clone() },
        NewRelease { tiers: vec!["pro".to_owned()], ..first.clone() },
        NewRelease { rollout_percent: 10, ..first.clone() },
    ] {
        assert_eq!(create(&mut work, &by(), &other), Err(ReleaseError::VersionExists), "{other:?}");
    }
    let files = files_in(&work, &id);
    store(&mut work, &by(), &files[0]).unwrap();
    publish(&mut work, &by(), &id).unwrap();
    roll_out(&mut work, &by(), &id, 10).unwrap();
    assert!(!create(&mut work, &by(), &first).unwrap().2, "a rollout is no other release");
}

#[test]
fn a_draft_that_was_withdrawn_gives_its_version_back() {
    let mut work = work();
    let draft = create(&mut work, &by(), &new("1.0.0", &["a.exe"])).unwrap().0;
    let withdrawn = withdraw(&mut work, &by(), &draft.id).unwrap();
    assert_eq!((withdrawn.withdraw_reason.as_deref(), &withdrawn.claims), (Some("it crashes"), &None));
    assert_eq!(publish(&mut work, &by(), &draft.id), Err(ReleaseError::Withdrawn));
    assert_eq!(roll_out(&mut work, &by(), &draft.id, 10), Err(ReleaseError::Withdrawn));
    assert!(create(&mut work, &by(), &new("1.0.0", &["b.exe"])).is_ok());
    assert!(!withdrawn.is_served(now()), "it never was anybody's");
}

#[test]
fn a_file_is_kept_as_long_as_one_release_has_it() {
    let mut work = work();
    let old = create(&mut work, &by(), &new("1.0.0", &["a.exe"])).unwrap();
    store(&mut work, &by(), &old.1[0]).unwrap();
    publish(&mut work, &by(), &old.0.id).unwrap();
    let withdrawn = withdraw(&mut work, &by(), &old.0.id).unwrap();
    work.insert(Release { withdrawn_at: Some(now() - WITHDRAWN_KEPT), ..withdrawn });
    let again = create(&mut work, &by(), &new("1.0.1", &["a.exe"])).unwrap().0;
    assert!(!forget(&mut work, "a.exe"), "a draft has it");
    withdraw(&mut work, &by(), &again.id).unwrap();
    let withdrawn: Release = work.get_cloned(&again.id).unwrap();
    work.insert(Release { withdrawn_at: Some(now() - WITHDRAWN_KEPT), ..withdrawn });
    assert!(forget(&mut work, "a.exe"));
    assert!(!forget(&mut work, "a.exe"), "once");
}

#[test]
fn a_withdrawn_release_is_served_for_ninety_days() {
    let mut work = work();
    let (draft, files, _) = create(&mut work, &by(), &new("1.0.0", &["a.exe"])).unwrap();
    store(&mut work, &by(), &files[0]).unwrap();
    publish(&mut work, &by(), &draft.id).unwrap();
    assert_eq!(roll_out(&mut work, &by(), &draft.id, 10).unwrap().rollout_percent, 10);
    let withdrawn = withdraw(&mut work, &by(), &draft.id).unwrap();
    assert_eq!(withdraw(&mut work, &by(), &draft.id), Ok(withdrawn.clone()));
    assert!(withdrawn.is_served(now() + WITHDRAWN_KEPT - Duration::seconds(1)));
    assert!(!withdrawn.is_served(now() + WITHDRAWN_KEPT));
    assert_eq!(create(&mut work, &by(), &new("1.0.0", &["b.exe"])), Err(ReleaseError::VersionExists));
}

#[test]
fn a_licence_gets_what_its_tier_and_plan_let_it_have() {
    let plans = Plans::parse(include_str!("../../../tests/plans.toml")).unwrap();
    let license = License {
        id: "lic_1".to_owned(),
        customer_id: "cus_1".to_owned(),
        key: "a key".to_owned(),
        status: "active".to_owned(),
        tier: "pro".to_owned(),
        plan_id: Some("pro_monthly".to_owned()),
        max_activations: 3,
        expires_at: None,
        revoked_at: None,
        last_seq: 0,
        created_at: now(),
        grace_ends_at: None,
        cancels_at: None,
    };
    let gets = |feature: Option<&str>, tiers: &[&str], license: &License| {
        let tiers = Json(tiers.iter().map(|tier| (*tier).to_owned()).collect());
        let release = Release { feature: feature.map(str::to_owned), tiers, ..release("1.0.0") };
        release.is_for(license, &plans)
    };
    assert!(gets(None, &[], &license) && gets(Some("sync"), &["team", "pro"], &license));
    assert!(!gets(None, &["team"], &license) && !gets(Some("beta"), &[], &license));
    assert!(!gets(None, &[], &License { status: "expired".to_owned(), ..license.clone() }));
    assert!(!gets(Some("sync"), &[], &License { plan_id: None, ..license }));
}
