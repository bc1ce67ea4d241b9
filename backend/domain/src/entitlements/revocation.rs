//! An operator takes a licence away, or gives it back: then it follows its subscription again.

use serde_json::{Value, json};
use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::audit::Cause;
use crate::audit::acts::{self, Act, ActedBy};
use crate::entitlements::follow;
use crate::licenses::License;
use crate::settings::Settings;

/// There is no such licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such licence")]
pub struct UnknownLicense;

/// Takes a licence away, whatever its subscription says. The same again changes nothing.
pub fn revoke(
    work: &mut UnitOfWork,
    settings: &Settings,
    by: &ActedBy,
    license_id: &str,
) -> Result<(), UnknownLicense> {
    let now = work.now();
    act(work, settings, by, "license.revoke", license_id, Some(now))
}

/// Gives a licence back that was taken away. One that was not stays as it is.
pub fn reinstate(
    work: &mut UnitOfWork,
    settings: &Settings,
    by: &ActedBy,
    license_id: &str,
) -> Result<(), UnknownLicense> {
    act(work, settings, by, "license.reinstate", license_id, None)
}

fn act(
    work: &mut UnitOfWork,
    settings: &Settings,
    by: &ActedBy,
    action: &'static str,
    license_id: &str,
    revoked_at: Option<Timestamp>,
) -> Result<(), UnknownLicense> {
    let mut license: License = work.get_cloned(license_id).ok_or(UnknownLicense)?;
    if license.revoked_at.is_some() == revoked_at.is_some() {
        return Ok(());
    }
    let before = shown(&license);
    let customer_id = license.customer_id.clone();
    license.revoked_at = revoked_at;
    work.insert(license);
    follow(work, settings, Cause::operator(), &customer_id);
    let after = work.get::<License>(license_id).map(shown);
    acts::record(work, by, Act { action, target: ("license", license_id), before: Some(before), after });
    Ok(())
}

fn shown(license: &License) -> Value {
    json!({ "status": license.status })
}
