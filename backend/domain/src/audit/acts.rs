//! What operators did, for good: a row an act, in the transaction of what it changed.

use serde_json::Value;
use tollgate_db::{Json, UnitOfWork, record};
use tollgate_shared::Timestamp;

record! {
    /// A row of `operator_acts`.
    pub struct OperatorAct in "operator_acts" {
        /// `aud_…`
        pub id: String,
        /// When it was done.
        pub at: Timestamp,
        /// Who did it: a user's id, or `key` for the holder of `ADMIN_API_KEY`.
        pub actor: String,
        /// What the holder of the key calls himself; nobody has checked it.
        pub claimed_name: Option<String>,
        /// What was done: `license.revoke`.
        pub action: String,
        /// What it was done to: `license`.
        pub target_type: String,
        /// Its id.
        pub target_id: String,
        /// Why, where somebody said so.
        pub reason: Option<String>,
        /// The request by which it was done.
        pub request_id: String,
        /// What the act changed, as it was.
        pub before_act: Option<Json<Value>>,
        /// The same as it is now.
        pub after_act: Option<Json<Value>>,
    }
}

/// Who does something, by which request, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActedBy {
    /// A user's id, or `key`.
    pub actor: String,
    /// What the holder of a key calls himself.
    pub claimed_name: Option<String>,
    /// The request.
    pub request_id: String,
    /// Why.
    pub reason: Option<String>,
}

/// What was done to what.
#[derive(Clone, Debug, PartialEq)]
pub struct Act<'a> {
    /// `license.revoke`: a noun and a verb.
    pub action: &'static str,
    /// The type of what it was done to, and its id.
    pub target: (&'static str, &'a str),
    /// What the act changed, as it was.
    pub before: Option<Value>,
    /// The same as it is now.
    pub after: Option<Value>,
}

/// Puts an act on record.
pub fn record(work: &mut UnitOfWork, by: &ActedBy, act: Act<'_>) {
    let (target_type, target_id) = act.target;
    work.append(OperatorAct {
        id: work.new_id("aud"),
        at: work.now(),
        actor: by.actor.clone(),
        claimed_name: by.claimed_name.clone(),
        action: act.action.to_owned(),
        target_type: target_type.to_owned(),
        target_id: target_id.to_owned(),
        reason: by.reason.clone(),
        request_id: by.request_id.clone(),
        before_act: act.before.map(Json),
        after_act: act.after.map(Json),
    });
}
