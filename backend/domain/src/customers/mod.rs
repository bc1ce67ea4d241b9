//! Customers: who they are, by their own snapshots, and whose, by the claims that Stripe's objects carry.

use serde::{Deserialize, Serialize};
use tollgate_shared::Timestamp;

use crate::history::{History, Snapshot, State};
use crate::plans::Plans;
use crate::subscriptions::Subscription;
use tollgate_db::{Json, UnitOfWork, record};
use tollgate_stripe::{self as stripe, Observation};

record! {
    /// A row of `customers`.
    pub struct Customer in "customers" {
        /// `cus_…`
        pub id: String,
        /// Its newest snapshots.
        pub history: Json<History<stripe::Customer>>,
        /// The customer's name.
        pub name: Option<String>,
        /// The customer's e-mail address.
        pub email: Option<String>,
        /// Deleted at Stripe, for good.
        pub deleted: bool,
        /// `invoice_settings.default_payment_method`.
        pub default_payment_method_id: Option<String>,
        /// `default_source`.
        pub default_source_id: Option<String>,
        /// Our user, by the strongest of the claims.
        pub user_id: Option<String>,
        /// What sessions said of whose customer this is.
        pub user_claims: Json<UserClaims>,
        /// Its current subscription.
        pub current_subscription_id: Option<String>,
        /// What it may use.
        pub tier: String,
        /// When its entitlement ends by time alone.
        pub entitled_until: Option<Timestamp>,
        /// When it got its API key and widgets.
        pub provisioned_at: Option<Timestamp>,
        /// When we first heard of it.
        pub first_seen_at: Timestamp,
    }
}

/// What was said of whose customer it is, beside the metadata of objects; of Checkout sessions the newest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserClaims {
    /// What an internal service or an operator said, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// `client_reference_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_reference: Option<UserClaim>,
    /// `metadata.user_id` of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_metadata: Option<UserClaim>,
}

/// One claim. Ordered by time, then event, so that the newest is the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserClaim {
    /// When it was made.
    pub at: Timestamp,
    /// The event that carried it.
    pub source: String,
    /// Our user's id.
    pub user_id: String,
}

impl State for stripe::Customer {
    const VERSION: u32 = Self::VERSION;

    fn at_version(self, version: u32) -> Self {
        self.at_version(version)
    }

    fn is_terminal(&self) -> bool {
        self.deleted
    }
}

impl Customer {
    /// The customer's row as it is now, or a placeholder.
    pub fn of(work: &UnitOfWork, id: &str, default_tier: &str) -> Self {
        work.get_cloned(id).unwrap_or_else(|| Self::placeholder(work.now(), id, default_tier))
    }

    /// A row of which only the name is known.
    pub fn placeholder(now: Timestamp, id: &str, default_tier: &str) -> Self {
        Self {
            id: id.to_owned(),
            history: Json(History::default()),
            name: None,
            email: None,
            deleted: false,
            default_payment_method_id: None,
            default_source_id: None,
            user_id: None,
            user_claims: Json(UserClaims::default()),
            current_subscription_id: None,
            tier: default_tier.to_owned(),
            entitled_until: None,
            provisioned_at: None,
            first_seen_at: now,
        }
    }

    fn recompute(&mut self) {
        if let Some(last) = self.history.last().map(|snapshot| snapshot.state.clone()) {
            self.name = last.name;
            self.email = last.email;
            self.deleted = last.deleted;
            self.default_payment_method_id = last.default_payment_method;
            self.default_source_id = last.default_source;
        }
    }

    /// Whose customer this is: a link, else a session's reference, else the metadata of session, subscription, customer.
    pub fn claimed_user<'a>(&'a self, of_customer: &[&'a Subscription]) -> Option<&'a str> {
        let UserClaims { link, client_reference, session_metadata } = &*self.user_claims;
        let by_subscription = || {
            let claiming = of_customer.iter().copied().filter(|subscription| subscription.user_id().is_some());
            claiming.max_by_key(|subscription| (subscription.created_at, &subscription.id))?.user_id()
        };
        let by_customer = || self.history.last()?.state.user_id.as_deref();
        let by_session = client_reference.as_ref().or(session_metadata.as_ref()).map(|claim| &*claim.user_id);
        link.as_deref().or(by_session).or_else(by_subscription).or_else(by_customer)
    }
}

/// Takes in a snapshot of a customer.
pub fn apply(
    work: &mut UnitOfWork,
    plans: &Plans,
    observation: &Observation,
    before: Option<&stripe::Customer>,
    after: &stripe::Customer,
    deleted: bool,
) {
    let mut row = Customer::of(work, &after.id, plans.default_tier());
    let state = stripe::Customer { deleted: deleted || after.deleted, ..after.clone() };
    let second = observation.seen_at.timestamp();
    let is_news =
        row.history.observe(Snapshot::new(&observation.source, second, observation.is_creation, before, state));
    if is_news {
        row.recompute();
        work.insert(row);
    }
}

/// Another user was linked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the customer is linked to another user")]
pub struct AlreadyLinked;

/// Links the customer to a user of ours: the strongest claim, and for good. The same again changes nothing.
pub fn link(work: &mut UnitOfWork, plans: &Plans, customer: &str, user_id: &str) -> Result<(), AlreadyLinked> {
    let mut row = Customer::of(work, customer, plans.default_tier());
    match &row.user_claims.link {
        Some(linked) if linked == user_id => Ok(()),
        Some(_) => Err(AlreadyLinked),
        None => {
            row.user_claims.link = Some(user_id.to_owned());
            work.insert(row);
            Ok(())
        }
    }
}

/// Notes whom a completed session says that its customer is.
pub fn claim_by_session(
    work: &mut UnitOfWork,
    plans: &Plans,
    observation: &Observation,
    customer: &str,
    session: &stripe::CheckoutSession,
) {
    let claim = |user_id: &Option<String>| {
        let user_id = user_id.clone()?;
        Some(UserClaim { at: observation.seen_at, source: observation.source.clone(), user_id })
    };
    let mut row = Customer::of(work, customer, plans.default_tier());
    let claims = &mut *row.user_claims;
    claims.client_reference = claims.client_reference.take().max(claim(&session.client_reference_id));
    claims.session_metadata = claims.session_metadata.take().max(claim(&session.user_id));
    work.insert(row);
}
