//! Releases as operators see them, and as a page does that offers downloads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::clock::rfc3339;

use super::{Release, ReleaseFile, StoredFile};

/// A release as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Release")]
pub struct ReleaseView {
    id: String,
    version: String,
    channel: String,
    name: Option<String>,
    notes: Option<String>,
    status: String,
    rollout_percent: i64,
    feature: Option<String>,
    tiers: Vec<String>,
    files: Vec<FileView>,
    created_at: String,
    published_at: Option<String>,
    withdrawn_at: Option<String>,
    withdraw_reason: Option<String>,
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReleaseFile")]
pub struct FileView {
    name: String,
    platform: String,
    arch: String,
    size: i64,
    sha512: String,
    block_map_size: Option<i64>,
    /// Whether its bytes have come.
    stored: bool,
}

impl ReleaseView {
    /// What is shown of a release with these files, of which those lie in the folder that `stored` has.
    pub fn of(row: Release, files: Vec<ReleaseFile>, stored: &BTreeMap<String, StoredFile>) -> Self {
        let is_stored = |file: &ReleaseFile| stored.get(&file.name).is_some_and(|stored| stored.sha512 == file.sha512);
        let file = |file: ReleaseFile| FileView {
            stored: is_stored(&file),
            name: file.name,
            platform: file.platform,
            arch: file.arch,
            size: file.size,
            sha512: file.sha512,
            block_map_size: file.block_map_size,
        };
        Self {
            id: row.id,
            version: row.version,
            channel: row.channel,
            name: row.name,
            notes: row.notes,
            status: row.status,
            rollout_percent: row.rollout_percent,
            feature: row.feature,
            tiers: row.tiers.0,
            files: files.into_iter().map(file).collect(),
            created_at: rfc3339(row.created_at),
            published_at: row.published_at.map(rfc3339),
            withdrawn_at: row.withdrawn_at.map(rfc3339),
            withdraw_reason: row.withdraw_reason,
        }
    }
}
