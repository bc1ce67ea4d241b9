//! What a change of a subscription is answered with.

use rocket::http::Status;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;

/// A subscription as it is now. 202 while it is pending.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ChangedSubscription")]
pub(super) struct Changed {
    /// What Stripe says.
    pub(super) subscription: PlannedSubscriptionView,
    /// Whether Stripe did it and we have not written it yet.
    pub(super) pending: bool,
    /// What the customer confirms a payment with.
    pub(super) client_secret: Option<String>,
    /// Whether it was made by this request: 201.
    #[serde(skip)]
    pub(super) is_new: bool,
}

impl Changed {
    /// What is written, and no more to be done.
    pub(super) fn of(subscription: PlannedSubscriptionView) -> Self {
        Self { subscription, pending: false, client_secret: None, is_new: false }
    }
}

/// What is answered.
pub(super) trait View: Serialize + Send + Sync {
    /// With which status.
    fn status(&self) -> Status {
        Status::Ok
    }
}

impl View for Changed {
    fn status(&self) -> Status {
        match (self.pending, self.is_new) {
            (true, _) => Status::Accepted,
            (false, true) => Status::Created,
            (false, false) => Status::Ok,
        }
    }
}
