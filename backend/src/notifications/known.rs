//! What has to be known to send messages: read at once for all that are sent together.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use tollgate_db::{DbError, Lock, Record, Tx, record};
use tollgate_domain::contributions::Contribution;
use tollgate_domain::invoices::Invoice;
use tollgate_domain::memberships::Membership;
use tollgate_domain::notifications::devices::Device;
use tollgate_domain::notifications::preferences::Preferences;
use tollgate_domain::notifications::sending::Standing;
use tollgate_domain::notifications::{self, Facts, Message};
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::users::User;
use tollgate_shared::Timestamp;

record! {
    /// How a customer is reached, without all that Stripe tells of it.
    pub(super) struct Contact in "customers" {
        pub id: String,
        pub user_id: Option<String>,
        pub name: Option<String>,
        pub email: Option<String>,
    }
}

/// The rows that messages are about, and that say how they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Known {
    users: Vec<User>,
    customers: Vec<Contact>,
    preferences: Vec<Preferences>,
    devices: Vec<Device>,
    invoices: Vec<Invoice>,
    contributions: Vec<Contribution>,
    memberships: Vec<Membership>,
    subscriptions: Vec<Subscription>,
    /// How many messages each user was sent within the hour.
    sent: BTreeMap<String, i64>,
}

impl Known {
    /// Of these messages.
    pub(super) async fn load(tx: &mut Tx, now: Timestamp, messages: &[Message]) -> Result<Self, DbError> {
        let facts: Vec<Facts> = messages.iter().map(|message| Facts::of_json(&message.data)).collect();
        let of_facts = |id: fn(&Facts) -> &Option<String>| facts.iter().filter_map(|facts| id(facts).clone()).collect();
        let of_rows = |id: fn(&Message) -> Option<&String>| -> BTreeSet<String> {
            messages.iter().filter_map(|row| id(row).cloned()).collect()
        };
        let users = of_rows(|row| row.user_id.as_ref());
        let devices = of_rows(|row| row.device_id.as_ref());
        let customers = of_rows(|row| row.customer_id.as_ref());
        let mut sent = BTreeMap::new();
        for user in &users {
            let count = notifications::sent_in_hour(tx, user, now - Duration::hours(1)).await?;
            sent.insert(user.clone(), count);
        }
        Ok(Self {
            preferences: tx.load("recipient_id", &users.union(&customers).cloned().collect(), Lock::None).await?,
            customers: tx.load_by_either([("id", &customers), ("user_id", &users)], Lock::None).await?,
            devices: tx.load_by_either([("id", &devices), ("user_id", &users)], Lock::None).await?,
            users: tx.load("id", &users, Lock::None).await?,
            invoices: tx.load("id", &of_facts(|facts| &facts.invoice_id), Lock::None).await?,
            contributions: tx.load("id", &of_facts(|facts| &facts.contribution_id), Lock::None).await?,
            memberships: tx.load("id", &of_facts(|facts| &facts.membership_id), Lock::None).await?,
            subscriptions: tx.load("id", &of_facts(|facts| &facts.subscription_id), Lock::None).await?,
            sent,
        })
    }

    /// What the recipient of a message wants. Users who have said nothing want what they wanted as customers of nobody.
    pub(super) fn preferences(&self, message: &Message) -> Preferences {
        let ids = || message.user_id.iter().chain(&message.customer_id);
        let known = ids().find_map(|id| self.preferences.iter().find(|row| row.recipient_id == **id));
        known.cloned().unwrap_or_else(|| Preferences::by_default(ids().next().map_or("", String::as_str)))
    }

    /// Where its mail goes, and whose that is: the user's address, else that of the customer that it is about, else that of
    /// another customer of the user's.
    pub(super) fn address(&self, message: &Message) -> Option<(String, Option<String>)> {
        let user = message.user_id.as_deref().and_then(|id| by_key(&self.users, id));
        let own = self.customers.iter().filter(|row| message.customer_id.as_deref() == Some(&*row.id));
        let others = self.customers.iter().filter(|row| row.user_id.is_some() && row.user_id == message.user_id);
        let customer = own.chain(others).find(|row| row.email.is_some());
        let name = user.and_then(|user| user.name.clone()).or_else(|| customer.and_then(|row| row.name.clone()));
        let address = user.and_then(|user| user.email.clone()).or_else(|| customer.and_then(|row| row.email.clone()));
        Some((address?, name))
    }

    /// The device that it is for, unless somebody else has signed in on that meanwhile.
    pub(super) fn device(&self, message: &Message) -> Option<&Device> {
        let device = by_key(&self.devices, message.device_id.as_deref()?);
        device.filter(|row| Some(&row.user_id) == message.user_id.as_ref())
    }

    /// Its user's devices.
    pub(super) fn devices(&self, message: &Message) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|row| Some(&row.user_id) == message.user_id.as_ref())
    }

    /// How what it tells of stands.
    pub(super) fn standing(&self, facts: &Facts) -> Standing<'_> {
        Standing {
            invoice: facts.invoice_id.as_deref().and_then(|id| by_key(&self.invoices, id)),
            contribution: facts.contribution_id.as_deref().and_then(|id| by_key(&self.contributions, id)),
            membership: facts.membership_id.as_deref().and_then(|id| by_key(&self.memberships, id)),
            subscription: facts.subscription_id.as_deref().and_then(|id| by_key(&self.subscriptions, id)),
        }
    }

    /// Counts one more for its user; how many that are within the hour.
    pub(super) fn count(&mut self, message: &Message) -> i64 {
        let Some(user) = &message.user_id else { return 0 };
        let sent = self.sent.entry(user.clone()).or_default();
        *sent += 1;
        *sent
    }
}

fn by_key<'r, T: Record>(rows: &'r [T], key: &str) -> Option<&'r T> {
    rows.iter().find(|row| row.key() == key)
}
