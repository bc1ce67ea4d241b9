//! What operators say of a release, read into types.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::releases::life::{NewFile, NewRelease};
use tollgate_domain::releases::version::{is_channel, is_file_name, is_sha512, sort_key};
use tollgate_domain::releases::{Arch, Platform};

use crate::http::error::ApiError;

const NAME_CHARACTERS_MAX: usize = 200;
const NOTES_CHARACTERS_MAX: usize = 50_000;
const WORD_CHARACTERS_MAX: usize = 100;
const TIERS_MAX: usize = 50;
const FILES_MAX: usize = 100;

/// The largest body: notes as long as they may be, each character as two escapes, and files.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// The body of `POST /api/admin/releases`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NewRelease")]
pub(super) struct Create {
    version: String,
    channel: String,
    name: Option<String>,
    notes: Option<String>,
    rollout_percent: Option<i64>,
    feature: Option<String>,
    tiers: Option<Vec<String>>,
    files: Vec<CreateFile>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NewReleaseFile")]
struct CreateFile {
    name: String,
    platform: String,
    arch: String,
    size: i64,
    sha512: String,
    block_map_size: Option<i64>,
}

impl Create {
    /// What is asked for; 422 with the first member that is not what it should be.
    pub(super) fn readable(self, file_bytes_max: u64) -> Result<NewRelease, ApiError> {
        let sort_key = sort_key(&self.version)
            .ok_or_else(|| refused("version", "has to be a semantic version such as `1.2.3` or `1.3.0-beta.1`"))?;
        if !is_channel(&self.channel) {
            return Err(refused("channel", "has to be 1 to 32 small letters, digits and `_`"));
        }
        let tiers = self.tiers.unwrap_or_default();
        if tiers.len() > TIERS_MAX || !tiers.iter().all(|tier| is_text(tier, WORD_CHARACTERS_MAX)) {
            return Err(refused("tiers", "has to be a list of tiers"));
        }
        if !(1..=FILES_MAX).contains(&self.files.len()) {
            return Err(refused("files", "has to have 1 to 100 files"));
        }
        let names: BTreeSet<_> = self.files.iter().map(|file| file.name.clone()).collect();
        if names.len() < self.files.len() {
            return Err(refused("files", "has a name twice"));
        }
        let files = self.files.into_iter().map(|file| file.readable(file_bytes_max)).collect::<Result<_, _>>()?;
        Ok(NewRelease {
            channel: self.channel,
            version: self.version,
            sort_key,
            name: text("name", self.name, NAME_CHARACTERS_MAX)?,
            notes: text("notes", self.notes, NOTES_CHARACTERS_MAX)?,
            rollout_percent: percent("rolloutPercent", self.rollout_percent.unwrap_or(100))?,
            feature: text("feature", self.feature, WORD_CHARACTERS_MAX)?,
            tiers,
            files,
        })
    }
}

impl CreateFile {
    fn readable(self, bytes_max: u64) -> Result<NewFile, ApiError> {
        let platform = Platform::named(&self.platform)
            .ok_or_else(|| refused("files.platform", "has to be `win`, `mac` or `linux`"))?;
        let arch =
            Arch::named(&self.arch).ok_or_else(|| refused("files.arch", "has to be `x64`, `arm64` or `universal`"))?;
        if !is_file_name(&self.name) {
            let message = "has to be the name of a file: 1 to 180 of letters, digits, blanks and `!()+,-.=@_~`";
            return Err(refused("files.name", message));
        }
        if !(1..=bytes_max).contains(&u64::try_from(self.size).unwrap_or_default()) {
            return Err(refused("files.size", "has to be a number of bytes from 1 to RELEASE_FILE_BYTES_MAX"));
        }
        if !is_sha512(&self.sha512) {
            return Err(refused("files.sha512", "has to be a SHA-512 in base64"));
        }
        if self.block_map_size.is_some_and(|size| !(0..=self.size).contains(&size)) {
            return Err(refused("files.blockMapSize", "has to be a part of `size`"));
        }
        let Self { name, size, sha512, block_map_size, .. } = self;
        Ok(NewFile { name, platform, arch, size, sha512, block_map_size })
    }
}

/// A percentage.
pub(super) fn percent(param: &'static str, value: i64) -> Result<i64, ApiError> {
    (0..=100).contains(&value).then_some(value).ok_or_else(|| refused(param, "has to be a number from 0 to 100"))
}

/// A text of at most so many characters; blank is none.
fn text(param: &'static str, given: Option<String>, characters_max: usize) -> Result<Option<String>, ApiError> {
    let Some(given) = given.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let message = || format!("has at most {characters_max} characters");
    is_text(&given, characters_max).then_some(Some(given)).ok_or_else(|| refused(param, &message()))
}

fn is_text(text: &str, characters_max: usize) -> bool {
    (1..=characters_max).contains(&text.chars().count())
}

fn refused(param: &'static str, what: &str) -> ApiError {
    ApiError::invalid_parameter(param, format!("`{param}` {what}"))
}
