//! What Stripe answers a call, as an observation.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_shared::Timestamp;
use tollgate_stripe::{ObjectType, Observation};

use crate::app::App;
use crate::http::error::ApiError;
use crate::stripe_api::error::CallError;
use crate::stripe_api::{Call, Client};

/// The object in an answer that was given at `at`, in `account` where it is not our own.
pub fn seen(
    app: &App,
    object_type: ObjectType,
    account: Option<&str>,
    body: &[u8],
    at: Timestamp,
) -> Result<Observation, ApiError> {
    let account = account.map(str::to_owned);
    Observation::of_object(object_type, body, at, account, source(app)).map_err(|_| unreadable())
}

/// A customer as Stripe has it, which may be that it was deleted; none where Stripe never had it.
pub async fn customer(
    app: &App,
    stripe: &Client,
    id: &str,
    account: Option<&str>,
) -> Result<Option<Observation>, ApiError> {
    let read = Call::get("customers.read", &["customers", id]).in_account(account);
    match stripe.read(&read).await {
        Err(error) if error.refusal().is_some_and(|refusal| refusal.has_no("id")) => Ok(None),
        read => {
            let answer = read?;
            seen(app, ObjectType::Customer, account, &answer.body, answer.looked_after).map(Some)
        }
    }
}

/// The name of an answer: those of one second come in the order of their names, and after events that do not say what
/// they changed, since it is a call of ours that was answered last.
pub fn source(app: &App) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let micros = app.clock.now().timestamp_micros();
    format!("said_{micros:017}_{:012}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// 502: what Stripe answered is not what it should be.
pub fn unreadable() -> ApiError {
    CallError::UnexpectedResponse("it is not the object that was asked for").into()
}
