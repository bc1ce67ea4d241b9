//! Whom a release is rolled out to: as electron-updater judges it, by the id that each installation gave itself.

use super::Release;

/// An installation's `stagingUserId`, which it sends as `x-user-staging-id`: a UUID, of which the last four bytes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagingId(u32);

impl StagingId {
    /// The id of a header; none for what is no UUID.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|letter| *letter != '-').collect();
        let bytes: [u8; 16] = hex::decode(digits).ok()?.try_into().ok()?;
        let last: [u8; 4] = bytes[12..].try_into().ok()?;
        Some(Self(u32::from_be_bytes(last)))
    }

    /// Whether it is among so many per cent of all. electron-updater compares a fraction of 0xffffffff with the percentage in
    /// floating point; a release at 100 it takes for everybody's, since none is staged then.
    fn is_within(self, percent: i64) -> bool {
        percent >= 100 || f64::from(self.0) / f64::from(u32::MAX) < percent as f64 / 100.0
    }
}

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer<'r> {
    /// The release.
    pub release: &'r Release,
    /// Its `stagingPercentage`, where the client has still to judge.
    pub staging_percentage: Option<i64>,
}

/// What is offered of `releases`, the newest first, to an installation; where it does not say which one it is, it judges by
/// itself.
pub fn offer<'r>(releases: impl IntoIterator<Item = &'r Release>, id: Option<StagingId>) -> Option<Offer<'r>> {
    let mut releases = releases.into_iter();
    let newest = releases.next()?;
    let percent = newest.rollout_percent;
    match id {
        None => Some(Offer { release: newest, staging_percentage: Some(percent).filter(|percent| *percent < 100) }),
        Some(id) if id.is_within(percent) => Some(Offer { release: newest, staging_percentage: None }),
        Some(_) => everybodys(releases),
    }
}

/// The newest that is rolled out to all.
pub fn everybodys<'r>(releases: impl IntoIterator<Item = &'r Release>) -> Option<Offer<'r>> {
    let release = releases.into_iter().find(|release| release.rollout_percent >= 100)?;
    Some(Offer { release, staging_percentage: None })
}

#[cfg(test)]
mod tests {
    use super::super::tests::release;
    use super::*;

    fn id(last: &str) -> StagingId {
        StagingId::parse(&format!("11111111-2222-5333-8444-5555{last}")).unwrap()
    }

    fn at(version: &str, percent: i64) -> Release {
        Release { rollout_percent: percent, ..release(version) }
    }

    #[test]
    fn the_last_four_bytes_say_who_is_within() {
        // A tenth of 0xffffffff is 429496729.5: 0x19999999 is below it, 0x1999999a is not.
        assert!(id("19999999").is_within(10));
        assert!(!id("1999999a").is_within(10));
        assert!(!id("00000000").is_within(0));
        assert!(id("00000000").is_within(1));
        assert!(!id("ffffffff").is_within(99) && id("ffffffff").is_within(100));
    }

    #[test]
    fn what_is_no_uuid_is_nobody() {
        for bad in ["", "hunter2", "11111111-2222-5333-8444-55555555555", "zz111111-2222-5333-8444-555555555555"] {
            assert_eq!(StagingId::parse(bad), None, "{bad}");
        }
        assert_eq!(StagingId::parse("11111111-2222-5333-8444-5555000000FF"), Some(StagingId(255)));
    }

    #[test]
    fn who_is_outside_gets_the_newest_that_is_everybodys() {
        let releases = [at("3.0.0", 10), at("2.0.0", 50), at("1.0.0", 100)];
        let offered = |id| offer(&releases, id).map(|offer| (&*offer.release.version, offer.staging_percentage));
        assert_eq!(offered(Some(id("00000001"))), Some(("3.0.0", None)));
        assert_eq!(offered(Some(id("40000000"))), Some(("1.0.0", None)));
        assert_eq!(offered(None), Some(("3.0.0", Some(10))));
        assert_eq!(offer(&releases[..2], Some(id("40000000"))), None);
        assert_eq!(offer(&releases[2..], None).unwrap().staging_percentage, None);
    }
}
