//! Requests that are remembered by their `Idempotency-Key`, so that a button pressed twice does it once.
//!
//! Life of a row: claimed by the first request with the key, which holds it for [`HELD_FOR`]; answered, in the transaction
//! of what the request did; forgotten when [`KEPT_FOR`] is over. A request whose process died, or that failed in a way that
//! may pass, leaves the row without an answer: the next one takes it over. One that was only slow finds its claim gone when
//! it wants to answer, and then has done nothing.

mod store;
#[cfg(test)]
mod tests;
pub mod turns;

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::Duration;
use sha2::{Digest as _, Sha256};
use tollgate_db::{DbError, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

use crate::sealer::Sealer;

/// How long a request may take before another one with its key takes over.
pub const HELD_FOR: Duration = Duration::seconds(30);

/// How long a request is remembered.
pub const KEPT_FOR: Duration = Duration::hours(24);

record! {
    /// A row of `remembered_requests`.
    pub struct RememberedRequest in "remembered_requests" {
        /// Of the user, the route and the key: hex SHA-256.
        pub id: String,
        /// Of the path and the body: hex SHA-256.
        pub request_hash: String,
        /// When the first request came.
        pub first_at: Timestamp,
        /// The attempt that carries it out.
        pub holder: String,
        /// Until when that one is thought to be alive.
        pub held_until: Timestamp,
        /// The answer's HTTP status; none while there is no answer.
        pub status: Option<i64>,
        /// The answer's body under `ENCRYPTION_KEY`: it may hold a secret.
        pub answer: Option<Bytes>,
        /// When it is forgotten.
        pub expires_at: Timestamp,
        /// Stripe's id of what it is about, where the request itself does not name that.
        pub subject: Option<String>,
    }
}

/// A request that is to be done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The row's key.
    pub id: String,
    /// What it asks for.
    pub hash: String,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is to be done now.
    Claimed(Claim),
    /// It was done, and answered so.
    Answered(Answer),
}

/// The right to do a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The request's row.
    pub id: String,
    /// The attempt that has it.
    pub holder: String,
    /// When the request first came; the same for whoever takes over.
    pub first_at: Timestamp,
    /// Whether another attempt had it before, of which nobody knows what it did.
    pub is_repeat: bool,
    /// What that one was about, if it came so far.
    pub subject: Option<String>,
}

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a request is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key was used for something else.
    #[error("the key was used for another request")]
    Mismatch,
    /// The first request with the key is not answered yet.
    #[error("the first request with the key is still in progress")]
    InProgress,
    /// What was answered is under a key that `ENCRYPTION_KEY` no longer has.
    #[error("the answer cannot be decrypted")]
    Sealed,
}

impl Request {
    /// What `user_id` asks of `route` at `path` with `body`, under the key `key`.
    pub fn new(user_id: &str, route: &str, key: &str, path: &str, body: &[u8]) -> Self {
        Self {
            id: digest([user_id.as_bytes(), route.as_bytes(), key.as_bytes()]),
            hash: digest([path.as_bytes(), body]),
        }
    }
}

/// Hex SHA-256 of several texts, each with its length before it, so that no others give the same bytes.
fn digest<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

impl RememberedRequest {
    /// A row of which only the name is known: it has expired before it began.
    fn placeholder(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            request_hash: String::new(),
            first_at: Timestamp::UNIX_EPOCH,
            holder: String::new(),
            held_until: Timestamp::UNIX_EPOCH,
            status: None,
            answer: None,
            expires_at: Timestamp::UNIX_EPOCH,
            subject: None,
        }
    }
}

fn seal_context(id: &str) -> String {
    format!("remembered_request:{id}")
}

/// Loads the rows of requests for writing.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, ids: &BTreeSet<String>) -> Result<(), DbError> {
    if !ids.is_empty() {
        let placeholders: Vec<_> = ids.iter().map(|id| RememberedRequest::placeholder(id)).collect();
        work.add_loaded(tx.load_or_insert(&placeholders.iter().collect::<Vec<_>>()).await?);
    }
    Ok(())
}

/// Claims `request` for the attempt `holder`, or gives what it was answered.
pub fn claim(work: &mut UnitOfWork, sealer: &Sealer, request: &Request, holder: &str) -> Result<Known, Refused> {
    let now = work.now();
    let mut row = work.get_cloned(&request.id).unwrap_or_else(|| RememberedRequest::placeholder(&request.id));
    if row.expires_at <= now {
        row = RememberedRequest {
            request_hash: request.hash.clone(),
            first_at: now,
            expires_at: now + KEPT_FOR,
            ..RememberedRequest::placeholder(&request.id)
        };
    }
    if row.request_hash != request.hash {
        return Err(Refused::Mismatch);
    }
    if let (Some(status), Some(answer)) = (row.status, &row.answer) {
        let body = sealer.open(&seal_context(&row.id), answer).ok_or(Refused::Sealed)?;
        return Ok(Known::Answered(Answer { status: status as u16, body: body.to_vec() }));
    }
    if row.held_until > now {
        return Err(Refused::InProgress);
    }
    let is_repeat = !row.holder.is_empty();
    holder.clone_into(&mut row.holder);
    row.held_until = now + HELD_FOR;
    let (id, holder, first_at) = (row.id.clone(), row.holder.clone(), row.first_at);
    let claim = Claim { id, holder, first_at, is_repeat, subject: row.subject.clone() };
    work.insert(row);
    Ok(Known::Claimed(claim))
}

/// Notes what a request is about before it is done, for whoever takes it over: what the caller means by the same words may be
/// something else by then.
pub fn note_subject(work: &mut UnitOfWork, claim: &Claim, subject: &str) -> Result<(), Refused> {
    let mut row = held(work, claim).ok_or(Refused::InProgress)?;
    row.subject = Some(subject.to_owned());
    work.insert(row);
    Ok(())
}

/// Remembers what a request was answered. Another attempt may have taken it over meanwhile, which is then the one that
/// does it.
pub fn answer(work: &mut UnitOfWork, sealer: &Sealer, claim: &Claim, answer: &Answer) -> Result<(), Refused> {
    let mut row = held(work, claim).ok_or(Refused::InProgress)?;
    row.status = Some(i64::from(answer.status));
    row.answer = Some(sealer.seal(&seal_context(&row.id), &answer.body, work.rng()));
    work.insert(row);
    Ok(())
}

/// Lets the next attempt begin at once.
pub fn release(work: &mut UnitOfWork, claim: &Claim) {
    if let Some(mut row) = held(work, claim) {
        row.held_until = work.now();
        work.insert(row);
    }
}

/// The row of a claim that still is one.
fn held(work: &UnitOfWork, claim: &Claim) -> Option<RememberedRequest> {
    let row: RememberedRequest = work.get_cloned(&claim.id)?;
    (row.holder == claim.holder && row.status.is_none()).then_some(row)
}

/// Forgets requests whose time is over, `limit` at most; says how many.
pub async fn forget(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, DbError> {
    store::delete(tx, now, limit).await
}
