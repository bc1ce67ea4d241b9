//! Releases: the versions of the product's app, and who gets which.
//!
//! Life: a `draft` until all of its files have come, `published` then, to so many per cent of all installations, and
//! `withdrawn` when it turns out to be bad. A version is never another one: neither a name of a file nor a version of a channel
//! has other bytes later, since installations have them and compute their updates from them. A draft that was withdrawn has
//! been nobody's: its version may be used again.

pub mod cohort;
pub mod feed;
pub mod life;
pub mod ranges;
mod store;
pub mod version;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use serde_json::json;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Json, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

use crate::licenses::License;
use crate::plans::Plans;

/// How long the files of a withdrawn release are served: installations that have it compute their next update from them.
pub const WITHDRAWN_KEPT: Duration = Duration::days(90);

record! {
    /// A row of `releases`.
    pub struct Release in "releases" {
        /// `rel_…`
        pub id: String,
        /// Whom it is meant for: `latest`, `beta` …
        pub channel: String,
        /// The semantic version.
        pub version: String,
        /// What puts versions in order: [`version::sort_key`].
        pub sort_key: String,
        /// Channel and version, which are this one's alone; none for a draft that was withdrawn.
        pub claims: Option<String>,
        /// What people call it.
        pub name: Option<String>,
        /// What is new.
        pub notes: Option<String>,
        /// To how many per cent of all installations it is offered.
        pub rollout_percent: i64,
        /// What of a plan's features a licence needs to get it.
        pub feature: Option<String>,
        /// Of which tiers a licence has to be; none where any will do.
        pub tiers: Json<Vec<String>>,
        /// `draft`, `published` or `withdrawn`.
        pub status: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it was published.
        pub published_at: Option<Timestamp>,
        /// When it was withdrawn.
        pub withdrawn_at: Option<Timestamp>,
        /// Why.
        pub withdraw_reason: Option<String>,
    }
}

record! {
    /// A row of `release_files`.
    pub struct ReleaseFile in "release_files" references "releases" {
        /// `<release_id>/<name>`
        pub id: String,
        /// Whose it is.
        pub release_id: String,
        /// Where it stands among those.
        pub position: i64,
        /// What it is called.
        pub name: String,
        /// `win`, `mac` or `linux`.
        pub platform: String,
        /// `x64`, `arm64` or `universal`.
        pub arch: String,
        /// How many bytes it has.
        pub size: i64,
        /// Their SHA-512 in base64.
        pub sha512: String,
        /// How many of them are its block map.
        pub block_map_size: Option<i64>,
    }
}

record! {
    /// A row of `stored_files`: what a name stands for, for good.
    pub struct StoredFile in "stored_files" {
        /// What it is called.
        pub name: String,
        /// How many bytes it has.
        pub size: i64,
        /// Their SHA-512 in base64.
        pub sha512: String,
        /// Since when it lies in the folder; none for a placeholder.
        pub stored_at: Option<Timestamp>,
        /// Since when it does no longer.
        pub removed_at: Option<Timestamp>,
    }
}

record! {
    /// A row of `release_channels`.
    struct Channel in "release_channels" {
        /// Its name.
        pub id: String,
    }
}

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Windows.
    Win,
    /// macOS.
    Mac,
    /// Linux.
    Linux,
}

impl Platform {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Win, Self::Mac, Self::Linux];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Mac => "mac",
            Self::Linux => "linux",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.name() == name)
    }
}

/// What a file runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64 bits of Intel's.
    X64,
    /// 64 bits of ARM's.
    Arm64,
    /// Either.
    Universal,
}

impl Arch {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::X64, Self::Arm64, Self::Universal];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Arm64 => "arm64",
            Self::Universal => "universal",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }
}

impl ReleaseFile {
    /// Whether it is for a system, and runs on its processor where one is given.
    pub fn is_for(&self, platform: Platform, arch: Option<Arch>) -> bool {
        let runs = |arch: Arch| self.arch == arch.name() || self.arch == Arch::Universal.name();
        self.platform == platform.name() && arch.is_none_or(runs)
    }

    /// Whether it says in which blocks another file is put together.
    pub fn is_block_map(&self) -> bool {
        self.name.ends_with(".blockmap")
    }
}

/// What a unit of work needs of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The channel whose releases are changed.
    pub channel: Option<String>,
    /// The release of a channel and version.
    pub claims: Option<String>,
    /// A release, with its files.
    pub release: Option<String>,
    /// Names of files, and what they stand for.
    pub names: BTreeSet<String>,
    /// Whether all releases count that have files of these names.
    pub with_their_releases: bool,
}

/// Loads what is wanted, for writing. Whoever changes releases of a channel does so alone.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, wanted: &Wanted) -> Result<(), DbError> {
    if let Some(channel) = &wanted.channel {
        work.add_seldom_changed(tx.load_or_insert(&[&Channel { id: channel.clone() }]).await?);
    }
    let mut releases: Vec<Release> = tx.load("claims", &set(wanted.claims.as_ref()), Lock::ForUpdate).await?;
    releases.extend(tx.load("id", &set(wanted.release.as_ref()), Lock::ForUpdate).await?);
    let ids = releases.iter().map(|release| release.id.clone()).collect();
    work.add_loaded(releases);
    let files: Vec<ReleaseFile> = tx.load("release_id", &ids, Lock::None).await?;
    let placeholders: Vec<_> = wanted.names.iter().map(|name| StoredFile::placeholder(name)).collect();
    work.add_loaded(tx.load_or_insert(&placeholders.iter().collect::<Vec<_>>()).await?);
    let others = files.iter().map(|file| file.name.clone()).filter(|name| !wanted.names.contains(name)).collect();
    work.add_loaded::<StoredFile>(tx.load("name", &others, Lock::ForUpdate).await?);
    work.add_loaded(files);
    if wanted.with_their_releases {
        let files: Vec<ReleaseFile> = tx.load("name", &wanted.names, Lock::None).await?;
        let ids = files.iter().map(|file| file.release_id.clone()).collect();
        work.add_loaded::<Release>(tx.load("id", &ids, Lock::None).await?);
        work.add_loaded(files);
    }
    Ok(())
}

fn set(key: Option<&String>) -> BTreeSet<String> {
    key.into_iter().cloned().collect()
}

impl StoredFile {
    fn placeholder(name: &str) -> Self {
        Self { name: name.to_owned(), size: 0, sha512: String::new(), stored_at: None, removed_at: None }
    }

    /// Whether it lies in the folder.
    fn is_there(&self) -> bool {
        self.stored_at.is_some() && self.removed_at.is_none()
    }
}

/// The files of a release that is in `work`, in order.
pub fn files_in(work: &UnitOfWork, release_id: &str) -> Vec<ReleaseFile> {
    let mut files: Vec<ReleaseFile> =
        work.all().filter(|file: &&ReleaseFile| file.release_id == release_id).cloned().collect();
    files.sort_by_key(|file| file.position);
    files
}

impl Release {
    /// Whether a licence gets it: an active one, of one of its tiers, whose plan has its feature.
    pub fn is_for(&self, license: &License, plans: &Plans) -> bool {
        let plan = license.plan_id.as_deref().and_then(|id| plans.by_id(id));
        let has = |feature: &String| {
            let value = plan.and_then(|plan| plan.features.get(feature));
            value.is_some_and(|value| !value.is_null() && *value != json!(false))
        };
        license.status == "active"
            && (self.tiers.0.is_empty() || self.tiers.0.contains(&license.tier))
            && self.feature.as_ref().is_none_or(has)
    }

    /// Whether it was withdrawn so long ago that its files are nobody's any more.
    fn is_past(&self, now: Timestamp) -> bool {
        self.withdrawn_at.is_some_and(|at| now - at >= WITHDRAWN_KEPT)
    }

    /// Whether its files are to be had.
    pub fn is_served(&self, now: Timestamp) -> bool {
        self.published_at.is_some() && !self.is_past(now)
    }
}

/// A release with its files, in order.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<(Release, Vec<ReleaseFile>)>, DbError> {
    let ids = BTreeSet::from([id.to_owned()]);
    let Some(release) = tx.load::<Release>("id", &ids, Lock::None).await?.pop() else { return Ok(None) };
    let files = files_of(tx, &ids).await?.remove(id).unwrap_or_default();
    Ok(Some((release, files)))
}

/// The files of releases, in order.
pub async fn files_of(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Vec<ReleaseFile>>, DbError> {
    let mut files: BTreeMap<String, Vec<ReleaseFile>> = BTreeMap::new();
    for file in tx.load::<ReleaseFile>("release_id", ids, Lock::None).await? {
        files.entry(file.release_id.clone()).or_default().push(file);
    }
    for files in files.values_mut() {
        files.sort_by_key(|file| file.position);
    }
    Ok(files)
}

/// What names stand for, as far as they lie in the folder.
pub async fn stored(tx: &mut Tx, names: &BTreeSet<String>) -> Result<BTreeMap<String, StoredFile>, DbError> {
    let files: Vec<StoredFile> = tx.load("name", names, Lock::None).await?;
    let there = files.into_iter().filter(StoredFile::is_there);
    Ok(there.map(|file| (file.name.clone(), file)).collect())
}

/// Files that nobody is served any more: those of a page of releases that were withdrawn long ago, and of no other. Gives where
/// the next page begins, if there is one.
pub async fn removable(
    tx: &mut Tx,
    now: Timestamp,
    after: &Position,
    limit: i64,
) -> Result<(Vec<StoredFile>, Option<Position>), DbError> {
    let before = now - WITHDRAWN_KEPT;
    let withdrawn = store::withdrawn(tx, before, after, limit).await?;
    let last = withdrawn.last().and_then(|last| Some(Position { at: last.withdrawn_at?, id: last.id.clone() }));
    let ids = withdrawn.into_iter().map(|release| release.id).collect();
    let names = files_of(tx, &ids).await?.into_values().flatten().map(|file| file.name).collect();
    let files: Vec<ReleaseFile> = tx.load("name", &names, Lock::None).await?;
    let of = files.iter().map(|file| file.release_id.clone()).collect();
    let of: Vec<Release> = tx.load("id", &of, Lock::None).await?;
    let kept: BTreeSet<_> = of.iter().filter(|release| !release.is_past(now)).map(|release| &release.id).collect();
    let kept: BTreeSet<_> =
        files.iter().filter(|file| kept.contains(&file.release_id)).map(|file| &file.name).collect();
    let stored = stored(tx, &names).await?;
    Ok((stored.into_values().filter(|file| !kept.contains(&file.name)).collect(), last))
}

/// The releases that have a file of this name, each with that.
pub async fn of_file(tx: &mut Tx, name: &str) -> Result<Vec<(Release, ReleaseFile)>, DbError> {
    let files: Vec<ReleaseFile> = tx.load("name", &BTreeSet::from([name.to_owned()]), Lock::None).await?;
    let ids = files.iter().map(|file| file.release_id.clone()).collect();
    let releases: Vec<Release> = tx.load("id", &ids, Lock::None).await?;
    let of = |file: ReleaseFile| Some((releases.iter().find(|release| release.id == file.release_id)?.clone(), file));
    Ok(files.into_iter().filter_map(of).collect())
}

/// A page of releases, the newest first.
pub async fn list(tx: &mut Tx, page: &Page) -> Result<List<Release>, DbError> {
    let rows = store::list(tx, page).await?;
    Ok(page.list(rows, |row| Position { at: row.created_at, id: row.id.clone() }))
}

/// Published releases of a channel, those of the newest versions first: some of them, before the version that has this key.
pub async fn published(tx: &mut Tx, channel: &str, before: Option<&str>) -> Result<Vec<Release>, DbError> {
    store::published(tx, channel, before.unwrap_or(store::LAST), store::PUBLISHED_AT_ONCE).await
}

#[cfg(test)]
mod tests;
