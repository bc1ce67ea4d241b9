//! What an app sends, read into types.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::licenses::key::LicenseKey;

use crate::http::error::ApiError;

/// How long what an app knows its machine by may be.
pub(crate) const MACHINE_ID_CHARACTERS_MAX: usize = 512;
/// How long what people call their machine may be.
const MACHINE_NAME_CHARACTERS_MAX: usize = 255;
/// How long an operating system's name, and an app's version, may be.
const LABEL_CHARACTERS_MAX: usize = 100;

/// What an app says of its machine, by the key of its licence.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MachineRequest")]
pub(super) struct MachineBody {
    license_key: String,
    machine_id: String,
    machine_name: Option<String>,
    platform: Option<String>,
    app_version: Option<String>,
}

/// The same, within its limits.
pub(super) struct MachineRequest {
    /// None where what was sent cannot be a key.
    pub(super) key: Option<LicenseKey>,
    /// What the app knows its machine by.
    pub(super) machine_id: String,
    pub(super) name: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) app_version: Option<String>,
}

impl TryFrom<MachineBody> for MachineRequest {
    type Error = ApiError;

    fn try_from(body: MachineBody) -> Result<Self, ApiError> {
        Ok(Self {
            key: LicenseKey::parse(&body.license_key),
            machine_id: text("machineId", body.machine_id.into(), MACHINE_ID_CHARACTERS_MAX)?
                .ok_or_else(|| ApiError::invalid_parameter("machineId", "`machineId` is blank"))?,
            name: text("machineName", body.machine_name, MACHINE_NAME_CHARACTERS_MAX)?,
            platform: text("platform", body.platform, LABEL_CHARACTERS_MAX)?,
            app_version: text("appVersion", body.app_version, LABEL_CHARACTERS_MAX)?,
        })
    }
}

/// A text of at most so many characters; one that is blank says nothing.
pub(crate) fn text(
    param: &'static str,
    given: Option<String>,
    characters_max: usize,
) -> Result<Option<String>, ApiError> {
    let Some(given) = given.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if given.chars().count() > characters_max {
        let message = format!("`{param}` has to have at most {characters_max} characters");
        return Err(ApiError::invalid_parameter(param, message));
    }
    Ok(Some(given))
}
