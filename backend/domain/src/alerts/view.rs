//! Alerts as operators see them.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::Json;
use tollgate_shared::clock::rfc3339;

use super::{Alert, Labels};

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Alert")]
pub struct AlertView {
    fingerprint: String,
    alert: String,
    severity: String,
    /// What tells it from others of its name.
    labels: Labels,
    summary: String,
    starts_at: String,
    /// Null while it fires.
    ends_at: Option<String>,
    /// Until when nobody is told.
    silenced_until: Option<String>,
}

impl From<Alert> for AlertView {
    fn from(row: Alert) -> Self {
        let Json(labels) = row.labels;
        Self {
            fingerprint: row.fingerprint,
            alert: row.alert,
            severity: row.severity,
            labels,
            summary: row.summary,
            starts_at: rfc3339(row.starts_at),
            ends_at: row.ends_at.map(rfc3339),
            silenced_until: row.silenced_until.map(rfc3339),
        }
    }
}
