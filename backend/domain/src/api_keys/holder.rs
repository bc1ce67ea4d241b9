//! What users do with their keys: make, reveal, roll and revoke them.
//!
//! Life of a key: made by hand, and shown then; or given with a subscription, and revealed once. Rolled, it works for a
//! grace, beside the one that takes its place; revoked, it is over for good.

use chrono::Duration;
use tollgate_db::UnitOfWork;

use crate::api_keys::key::ApiKey;
use crate::api_keys::view::ShownKeyView;
use crate::api_keys::{StoredKey, seal_context};
use crate::audit::{Cause, Diff};
use crate::customers::{self, Customer};
use crate::sealer::Sealer;

/// Why nothing is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The user has no such key.
    #[error("the user has no such key")]
    Unknown,
    /// It was revealed before, or shown when it was made.
    #[error("the key was shown before")]
    AlreadyRevealed,
    /// It was revoked or rolled before.
    #[error("the key was revoked or rolled before")]
    AlreadyRevoked,
    /// `ENCRYPTION_KEY` no longer has the key that its copy is under.
    #[error("the copy of the key cannot be decrypted")]
    Sealed,
}

/// Makes a key for a customer of the user's; the answer is the only one that shows it. It is of the customer's mode, else of
/// the deployment's.
pub fn make(
    work: &mut UnitOfWork,
    livemode: Option<bool>,
    user_id: &str,
    customer_id: &str,
    name: Option<String>,
) -> Result<ShownKeyView, KeyError> {
    let customer: &Customer =
        work.get(customer_id).filter(|row: &&Customer| row.is_of(user_id)).ok_or(KeyError::Unknown)?;
    let live = customer.livemode.or(livemode).unwrap_or(false);
    let made = append(work, live, customer_id, name);
    record(work, customer_id, "api_key_made", None, Some(made.id()));
    Ok(made)
}

/// Gives the copy that was kept of the key `id`, which is then gone.
pub fn reveal(work: &mut UnitOfWork, sealer: &Sealer, user_id: &str, id: &str) -> Result<ShownKeyView, KeyError> {
    let mut row = held(work, user_id, id)?;
    let sealed = row.sealed.take().ok_or(KeyError::AlreadyRevealed)?;
    if row.revoked_at.is_some_and(|at| at <= work.now()) {
        return Err(KeyError::AlreadyRevoked);
    }
    let plain = sealer.open(&seal_context(&row.id), &sealed).ok_or(KeyError::Sealed)?;
    let key = std::str::from_utf8(&plain).ok().and_then(ApiKey::parse).ok_or(KeyError::Sealed)?;
    let shown = ShownKeyView::of(&row, &key);
    record(work, &row.customer_id, "api_key_revealed", None, Some(&row.id));
    work.insert(row);
    Ok(shown)
}

/// Makes a key that takes the place of `id`, which works for `grace` from now on.
pub fn roll(work: &mut UnitOfWork, user_id: &str, id: &str, grace: Duration) -> Result<ShownKeyView, KeyError> {
    let mut row = held(work, user_id, id)?;
    if row.revoked_at.is_some() {
        return Err(KeyError::AlreadyRevoked);
    }
    let made = append(work, row.is_live(), &row.customer_id, row.name.clone());
    record(work, &row.customer_id, "api_key_rolled", Some(&row.id), Some(made.id()));
    row.revoked_at = Some(work.now() + grace);
    work.insert(row);
    Ok(made)
}

/// Ends a key at once, within the grace of a rolled one too. One that is over stays as it is.
pub fn revoke(work: &mut UnitOfWork, user_id: &str, id: &str) -> Result<(), KeyError> {
    let mut row = held(work, user_id, id)?;
    if row.revoked_at.is_none_or(|at| at > work.now()) {
        record(work, &row.customer_id, "api_key_revoked", Some(&row.id), None);
        row.revoked_at = Some(work.now());
        work.insert(row);
    }
    Ok(())
}

/// The key `id`, if it is one of the user's.
fn held(work: &UnitOfWork, user_id: &str, id: &str) -> Result<StoredKey, KeyError> {
    let row: StoredKey = work.get_cloned(id).ok_or(KeyError::Unknown)?;
    let is_theirs = work.get(&row.customer_id).is_some_and(|customer: &Customer| customer.is_of(user_id));
    if is_theirs { Ok(row) } else { Err(KeyError::Unknown) }
}

fn append(work: &mut UnitOfWork, live: bool, customer_id: &str, name: Option<String>) -> ShownKeyView {
    let key = ApiKey::generate(live, work.rng());
    let row = StoredKey {
        id: work.new_id("key"),
        customer_id: customer_id.to_owned(),
        origin: "user".to_owned(),
        name,
        prefix: key.prefix(),
        hash: key.hash(),
        sealed: None,
        created_at: work.now(),
        revoked_at: None,
    };
    let shown = ShownKeyView::of(&row, &key);
    work.append(row);
    shown
}

fn record(work: &mut UnitOfWork, customer_id: &str, change: &'static str, from: Option<&str>, to: Option<&str>) {
    customers::record_change(work, customer_id, Cause::user(None), Diff { change, from, to });
}
