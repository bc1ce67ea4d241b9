//! What happens to a release: it is made, its files come, it is published, rolled out, withdrawn. Each act is on record.

use serde_json::{Value, json};
use tollgate_db::{Json, UnitOfWork};

use super::{Arch, Platform, Release, ReleaseFile, StoredFile, files_in};
use crate::audit::acts::{self, Act, ActedBy};

/// What a release is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the row")]
pub struct NewRelease {
    pub channel: String,
    pub version: String,
    pub sort_key: String,
    pub name: Option<String>,
    pub notes: Option<String>,
    pub rollout_percent: i64,
    pub feature: Option<String>,
    pub tiers: Vec<String>,
    pub files: Vec<NewFile>,
}

/// A file of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the row")]
pub struct NewFile {
    pub name: String,
    pub platform: Platform,
    pub arch: Arch,
    pub size: i64,
    pub sha512: String,
    pub block_map_size: Option<i64>,
}

/// Why nothing is done with a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// There is no such release, or no such file of it.
    #[error("there is no such release")]
    Unknown,
    /// The channel has that version, and it has other files or other terms.
    #[error("the channel has that version already, with other files or other terms")]
    VersionExists,
    /// A file of that name is another one.
    #[error("a file of that name is another one already")]
    FileExists,
    /// Files have not come yet.
    #[error("files are missing")]
    FilesMissing(Vec<String>),
    /// It was withdrawn.
    #[error("it was withdrawn")]
    Withdrawn,
}

/// What a version of a channel is claimed by: its place in the order, so that there are no two of which neither is newer.
pub fn claims_of(channel: &str, sort_key: &str) -> String {
    format!("{channel}/{sort_key}")
}

/// Makes a draft; gives it with its files, and whether it is new: the very same one may be asked for again.
pub fn create(
    work: &mut UnitOfWork,
    by: &ActedBy,
    new: &NewRelease,
) -> Result<(Release, Vec<ReleaseFile>, bool), ReleaseError> {
    let claims = claims_of(&new.channel, &new.sort_key);
    if let Some(known) = work.all().find(|release: &&Release| release.claims.as_ref() == Some(&claims)).cloned() {
        let files = files_in(work, &known.id);
        let has_files = files.len() == new.files.len() && files.iter().zip(&new.files).all(|(file, new)| file.is(new));
        return if has_files && known.is(new) { Ok((known, files, false)) } else { Err(ReleaseError::VersionExists) };
    }
    let is_another = |file: &NewFile| {
        let stored = work.get::<StoredFile>(&file.name).filter(|stored| stored.stored_at.is_some());
        stored.is_some_and(|stored| (stored.size, &stored.sha512) != (file.size, &file.sha512))
    };
    if new.files.iter().any(is_another) {
        return Err(ReleaseError::FileExists);
    }
    let release = Release {
        id: work.new_id("rel"),
        channel: new.channel.clone(),
        version: new.version.clone(),
        sort_key: new.sort_key.clone(),
        claims: Some(claims),
        name: new.name.clone(),
        notes: new.notes.clone(),
        rollout_percent: new.rollout_percent,
        feature: new.feature.clone(),
        tiers: Json(new.tiers.clone()),
        status: "draft".to_owned(),
        created_at: work.now(),
        published_at: None,
        withdrawn_at: None,
        withdraw_reason: None,
    };
    let files: Vec<_> = (0..).zip(&new.files).map(|(position, file)| file.of(&release.id, position)).collect();
    work.insert(release.clone());
    for file in &files {
        work.insert(file.clone());
    }
    let after = json!({ "channel": release.channel, "version": release.version });
    record(work, by, "release.create", &release.id, None, Some(after));
    Ok((release, files, true))
}

impl NewFile {
    pub(super) fn of(&self, release_id: &str, position: i64) -> ReleaseFile {
        ReleaseFile {
            id: format!("{release_id}/{}", self.name),
            release_id: release_id.to_owned(),
            position,
            name: self.name.clone(),
            platform: self.platform.name().to_owned(),
            arch: self.arch.name().to_owned(),
            size: self.size,
            sha512: self.sha512.clone(),
            block_map_size: self.block_map_size,
        }
    }
}

impl Release {
    /// Whether this was made on the same terms. How many it is offered to may have changed since it was published.
    fn is(&self, new: &NewRelease) -> bool {
        let terms = (&self.version, &self.name, &self.notes, &self.feature, &self.tiers.0);
        let is_offered_alike = self.published_at.is_some() || self.rollout_percent == new.rollout_percent;
        terms == (&new.version, &new.name, &new.notes, &new.feature, &new.tiers) && is_offered_alike
    }
}

impl ReleaseFile {
    fn is(&self, new: &NewFile) -> bool {
        *self == new.of(&self.release_id, self.position)
    }
}

/// Notes that a file of a release lies in the folder.
pub fn store(work: &mut UnitOfWork, by: &ActedBy, file: &ReleaseFile) -> Result<(), ReleaseError> {
    let known: StoredFile = work.get_cloned(&file.name).unwrap_or_else(|| StoredFile::placeholder(&file.name));
    if known.stored_at.is_some() && (known.size, &known.sha512) != (file.size, &file.sha512) {
        return Err(ReleaseError::FileExists);
    }
    if known.is_there() {
        return Ok(());
    }
    let (size, sha512, stored_at) = (file.size, file.sha512.clone(), Some(work.now()));
    work.insert(StoredFile { name: known.name, size, sha512, stored_at, removed_at: None });
    let after = json!({ "name": file.name, "size": file.size, "sha512": file.sha512 });
    record(work, by, "release.store", &file.release_id, None, Some(after));
    Ok(())
}

/// Offers a release, once all of its files are there. One that is published stays as it is.
pub fn publish(work: &mut UnitOfWork, by: &ActedBy, id: &str) -> Result<Release, ReleaseError> {
    let release: Release = work.get_cloned(id).ok_or(ReleaseError::Unknown)?;
    match &*release.status {
        "draft" => {}
        "published" => return Ok(release),
        _ => return Err(ReleaseError::Withdrawn),
    }
    let mut missing = Vec::new();
    for file in files_in(work, id) {
        match work.get::<StoredFile>(&file.name).filter(|stored| stored.is_there()) {
            None => missing.push(file.name),
            Some(stored) if (stored.size, &stored.sha512) != (file.size, &file.sha512) => {
                return Err(ReleaseError::FileExists);
            }
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        return Err(ReleaseError::FilesMissing(missing));
    }
    let now = work.now();
    let release = Release { status: "published".to_owned(), published_at: Some(now), ..release };
    work.insert(release.clone());
    let after = json!({ "rolloutPercent": release.rollout_percent });
    record(work, by, "release.publish", id, None, Some(after));
    Ok(release)
}

/// Offers a release to so many per cent.
pub fn roll_out(work: &mut UnitOfWork, by: &ActedBy, id: &str, percent: i64) -> Result<Release, ReleaseError> {
    let release: Release = work.get_cloned(id).ok_or(ReleaseError::Unknown)?;
    if release.status == "withdrawn" {
        return Err(ReleaseError::Withdrawn);
    }
    let before = release.rollout_percent;
    let release = Release { rollout_percent: percent, ..release };
    if before != percent {
        work.insert(release.clone());
        let [before, after] = [before, percent].map(|percent| Some(json!({ "rolloutPercent": percent })));
        record(work, by, "release.rollout", id, before, after);
    }
    Ok(release)
}

/// Offers a release to nobody any more. One that is withdrawn stays as it is.
pub fn withdraw(work: &mut UnitOfWork, by: &ActedBy, id: &str) -> Result<Release, ReleaseError> {
    let release: Release = work.get_cloned(id).ok_or(ReleaseError::Unknown)?;
    if release.status == "withdrawn" {
        return Ok(release);
    }
    let before = json!({ "status": release.status });
    let release = Release {
        claims: release.claims.filter(|_| release.published_at.is_some()),
        status: "withdrawn".to_owned(),
        withdrawn_at: Some(work.now()),
        withdraw_reason: by.reason.clone(),
        ..release
    };
    work.insert(release.clone());
    record(work, by, "release.withdraw", id, Some(before), Some(json!({ "status": "withdrawn" })));
    Ok(release)
}

fn record(
    work: &mut UnitOfWork,
    by: &ActedBy,
    action: &'static str,
    id: &str,
    before: Option<Value>,
    after: Option<Value>,
) {
    acts::record(work, by, Act { action, target: ("release", id), before, after });
}

/// Whether a file lies in the folder, or is being put there by who holds its row.
pub fn is_there(work: &UnitOfWork, name: &str) -> bool {
    work.get::<StoredFile>(name).is_some_and(StoredFile::is_there)
}

/// Notes that a file lies in the folder no longer; says whether that may be: no release may have it that is not long past.
pub fn forget(work: &mut UnitOfWork, name: &str) -> bool {
    let now = work.now();
    let has_it = |file: &&ReleaseFile| file.name == name;
    let is_wanted =
        |file: &ReleaseFile| work.get::<Release>(&file.release_id).is_some_and(|release| !release.is_past(now));
    if work.all().filter(has_it).any(is_wanted) {
        return false;
    }
    let Some(file) = work.get_cloned::<StoredFile>(name).filter(StoredFile::is_there) else { return false };
    work.insert(StoredFile { removed_at: Some(now), ..file });
    true
}
