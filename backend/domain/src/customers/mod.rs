//! Customers: who they are, by their own snapshots, and whose, by the claims that Stripe's objects carry.

pub mod by_email;
mod store;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tollgate_db::{DbError, Json, Lock, Record, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;
use tollgate_stripe::{self as stripe, Observation};

use crate::audit::{self, Cause, Diff};
use crate::history::{History, Snapshot, State};
use crate::plans::Plans;
use crate::subscriptions::Subscription;

record! {
    /// A row of `customers`.
    pub struct Customer in "customers" {
        /// `cus_…`
        pub id: String,
        /// Its newest snapshots.
        pub history: Json<History<stripe::Customer>>,
        /// The customer's name.
        pub name: Option<String>,
        /// The name as its beginning is looked for; see [`name_key`].
        pub name_key: Option<String>,
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
        /// What said whose customer this is, but for its own snapshots and those of its subscriptions.
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
        /// The connected account whose customer it is; none for our own.
        pub account: Option<String>,
        /// Whether its money is real.
        pub livemode: Option<bool>,
        /// What its sessions and invoices call it.
        pub contact: Option<Json<Contact>>,
        /// The digest of the plans that its row and those of its subscriptions were last computed by.
        pub plans_digest: String,
        /// The number of its newest entry in the audit log.
        pub last_change: i64,
        /// Whether it has bought anything once: of most nothing of the kind has to be looked for.
        pub has_purchases: bool,
    }
}

/// Who said whose customer it is, the strongest first; of each kind the newest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserClaims {
    /// An internal service or an operator, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// `metadata.user_id` of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_metadata: Option<UserClaim>,
    /// `client_reference_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_reference: Option<UserClaim>,
    /// The user who signed in with the customer's e-mail address, verified, when nobody else had said whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_email: Option<String>,
}

/// One claim. Ordered by time, then source, so that the newest is the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserClaim {
    /// When it was made; of a session, when that was.
    pub at: Timestamp,
    /// The event that carried it.
    pub source: String,
    /// Our user's id.
    pub user_id: String,
}

/// What sessions and invoices call a customer, while it has no snapshot of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// The newest e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Mention>,
    /// The newest name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Mention>,
}

/// Something that an object says of its customer. The largest is what the newest object says, and of that one its newest
/// snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mention {
    /// When Stripe made the object.
    pub at: Timestamp,
    /// The object's id.
    pub object_id: String,
    /// When the object was so.
    pub seen_at: Timestamp,
    /// The event that carried it.
    pub source: String,
    /// What it says.
    pub value: String,
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
    pub fn of(work: &UnitOfWork, id: &str, plans: &Plans) -> Self {
        work.get_cloned(id).unwrap_or_else(|| Self::placeholder(work.now(), id, plans))
    }

    /// A row of which only the name is known.
    pub fn placeholder(now: Timestamp, id: &str, plans: &Plans) -> Self {
        Self {
            id: id.to_owned(),
            history: Json(History::default()),
            name: None,
            name_key: None,
            email: None,
            deleted: false,
            default_payment_method_id: None,
            default_source_id: None,
            user_id: None,
            user_claims: Json(UserClaims::default()),
            current_subscription_id: None,
            tier: plans.default_tier().to_owned(),
            entitled_until: None,
            provisioned_at: None,
            first_seen_at: now,
            account: None,
            livemode: None,
            contact: None,
            plans_digest: plans.digest().to_owned(),
            last_change: 0,
            has_purchases: false,
        }
    }

    /// Whether it is that user's.
    pub fn is_of(&self, user_id: &str) -> bool {
        self.user_id.as_deref() == Some(user_id)
    }

    /// When it was deleted at Stripe, if it was.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        let last = self.history.last().filter(|snapshot| snapshot.state.deleted)?;
        from_unix(last.second)
    }

    /// Whose customer this is, by the strongest claim: a link, else the metadata of the customer, else of its newest
    /// subscription that has one, else of its newest session that has one, else the newest session's reference. That one
    /// comes last of what Stripe knows, since affiliate tools write there and nobody can correct it. Who has but the same
    /// verified e-mail address comes after all of them.
    pub fn claimed_user<'a>(&'a self, of_customer: &[&'a Subscription]) -> Option<&'a str> {
        let UserClaims { link, session_metadata, client_reference, verified_email } = &*self.user_claims;
        let claim = |claim: &'a Option<UserClaim>| claim.as_ref().map(|claim| &*claim.user_id);
        let by_customer = || self.history.last()?.state.user_id.as_deref();
        let by_subscription = || {
            let claiming = of_customer.iter().copied().filter(|subscription| subscription.user_id().is_some());
            claiming.max_by_key(|subscription| (subscription.created_at, &subscription.id))?.user_id()
        };
        link.as_deref()
            .or_else(by_customer)
            .or_else(by_subscription)
            .or_else(|| claim(session_metadata))
            .or_else(|| claim(client_reference))
            .or(verified_email.as_deref())
    }

    fn recompute(&mut self) {
        if let Some(last) = self.history.last().map(|snapshot| snapshot.state.clone()) {
            self.name = last.name;
            self.email = last.email;
            self.deleted = last.deleted;
            self.default_payment_method_id = last.default_payment_method;
            self.default_source_id = last.default_source;
        } else if let Some(Json(contact)) = &self.contact {
            let value = |mention: &Option<Mention>| mention.as_ref().map(|mention| mention.value.clone());
            (self.email, self.name) = (value(&contact.email), value(&contact.name));
        }
        self.name_key = self.name.as_deref().map(name_key);
    }
}

/// How much of a name is looked for, in characters: PostgreSQL takes some 2,700 bytes into one entry of an index.
const NAME_KEY_CHARACTERS_MAX: usize = 255;

/// A name as its beginning is looked for: in lower case, cut where it is too long for an index.
pub fn name_key(name: &str) -> String {
    name.chars().flat_map(char::to_lowercase).take(NAME_KEY_CHARACTERS_MAX).collect()
}

/// The customers of a user, who has a handful at most.
pub async fn of_user(tx: &mut Tx, user_id: &str) -> Result<Vec<String>, DbError> {
    store::of_user(tx, user_id).await
}

/// The row `id` of something that customers have, if it is of a customer of the user's.
pub async fn thing_of_user<T: Record>(
    tx: &mut Tx,
    user_id: &str,
    id: &str,
    customer_of: impl Fn(&T) -> &str,
) -> Result<Option<T>, DbError> {
    let customers = of_user(tx, user_id).await?;
    let row: Option<T> = tx.load("id", &BTreeSet::from([id.to_owned()]), Lock::None).await?.pop();
    Ok(row.filter(|row| customers.iter().any(|customer| customer == customer_of(row))))
}

/// Puts on record what was done with something of a customer's.
pub fn record_change(work: &mut UnitOfWork, id: &str, cause: Cause<'_>, diff: Diff<'_>) {
    let Some(mut row) = work.get_cloned::<Customer>(id) else { return };
    let entry = diff.to_audit_entry(work, cause, id, None);
    audit::append(work, &mut row.last_change, entry.into_iter().collect());
    work.insert(row);
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
    let mut row = Customer::of(work, &after.id, plans);
    let state = stripe::Customer { deleted: deleted || after.deleted, ..after.clone() };
    let mut snapshot = Snapshot::of(observation, before, state);
    if after.is_name_of_deleted() {
        // What it was is what is known of it, and its event says that better.
        snapshot.is_announcement = true;
        if let Some(last) = row.history.last() {
            snapshot.state = stripe::Customer { deleted: true, ..last.state.clone() };
        }
    }
    let is_news = row.history.observe(snapshot);
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
    let mut row = Customer::of(work, customer, plans);
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

/// Notes the account and the mode of what is observed of a customer: its own are the same.
pub fn note_origin(work: &mut UnitOfWork, plans: &Plans, observation: &Observation, id: &str) {
    let is_known = |row: &Customer| row.account >= observation.account && row.livemode >= observation.livemode;
    if work.get(id).is_some_and(is_known) {
        return;
    }
    let mut row = Customer::of(work, id, plans);
    row.account = row.account.max(observation.account.clone());
    row.livemode = row.livemode.max(observation.livemode);
    work.insert(row);
}

/// Notes that the customer has bought something once.
pub fn note_purchase(work: &mut UnitOfWork, plans: &Plans, id: &str) {
    if !work.get(id).is_some_and(|row: &Customer| row.has_purchases) {
        let row = Customer::of(work, id, plans);
        work.insert(Customer { has_purchases: true, ..row });
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
    let at = session.created.and_then(from_unix).unwrap_or(observation.seen_at);
    let claim = |user_id: &Option<String>| {
        Some(UserClaim { at, source: observation.source.clone(), user_id: user_id.clone()? })
    };
    let mut row = Customer::of(work, customer, plans);
    let claims = &mut *row.user_claims;
    claims.client_reference = claims.client_reference.take().max(claim(&session.client_reference_id));
    claims.session_metadata = claims.session_metadata.take().max(claim(&session.user_id));
    work.insert(row);
}

/// Notes what a session or an invoice, made at `created` (Unix seconds), calls its customer by `email` and `name`.
pub fn note_contact(
    work: &mut UnitOfWork,
    plans: &Plans,
    observation: &Observation,
    customer: &str,
    (object_id, created): (&str, Option<i64>),
    [email, name]: [Option<&String>; 2],
) {
    let mention = |value: Option<&String>| {
        Some(Mention {
            at: created.and_then(from_unix).unwrap_or(observation.seen_at),
            object_id: object_id.to_owned(),
            seen_at: observation.seen_at,
            source: observation.source.clone(),
            value: value?.clone(),
        })
    };
    let mut row = Customer::of(work, customer, plans);
    let was = row.contact.clone();
    let known = was.clone().map(|Json(contact)| contact).unwrap_or_default();
    let contact = Contact { email: known.email.max(mention(email)), name: known.name.max(mention(name)) };
    row.contact = Some(Json(contact)).filter(|Json(contact)| *contact != Contact::default());
    if row.contact != was {
        row.recompute();
        work.insert(row);
    }
}
