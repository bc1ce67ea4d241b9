//! What changes of a membership are answered with.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::memberships::Membership;
use tollgate_domain::memberships::view::MembershipView;
use tollgate_domain::pods::Pod;
use tollgate_shared::Timestamp;

/// What became of a wish to join.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Joined")]
pub(super) struct JoinedView {
    membership: MembershipView,
    /// Whether Stripe did it and we have not written it yet.
    pending: bool,
    /// What the payer has to confirm something with.
    client_secret: Option<String>,
}

/// What became of a wish to leave.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Left")]
pub(super) struct LeftView {
    membership: MembershipView,
    pending: bool,
}

impl JoinedView {
    pub(super) fn of(row: &Membership, pod: &Pod, now: Timestamp, pending: bool) -> Self {
        Self { membership: MembershipView::of(row, pod, now), pending, client_secret: None }
    }
}

impl LeftView {
    pub(super) fn of(row: &Membership, pod: &Pod, now: Timestamp, pending: bool) -> Self {
        Self { membership: MembershipView::of(row, pod, now), pending }
    }
}
