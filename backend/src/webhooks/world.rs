//! The rows that a batch of events touches, in memory: loaded at once, changed by pure decisions, stored at once.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_shared::Timestamp;

use crate::api_keys::StoredKey;
use crate::audit::Change;
use crate::customers::Customer;
use crate::db::{DbError, Lock, Record, Tx};
use crate::events::LicenseEvent;
use crate::invoices::Invoice;
use crate::licenses::License;
use crate::payment_methods::PaymentMethod;
use crate::payments::Payment;
use crate::subscriptions::Subscription;
use crate::webhooks::decide::{Needs, Rules};
use crate::webhooks::refetch::{Tie, Tied};
use crate::widgets::Widget;

/// The rows of one table. What one event does stays a draft until it is kept, so that an event in trouble harms no neighbour.
#[derive(Debug)]
pub struct Table<T> {
    loaded: BTreeMap<String, T>,
    changed: BTreeMap<String, T>,
    draft: BTreeMap<String, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { loaded: BTreeMap::new(), changed: BTreeMap::new(), draft: BTreeMap::new() }
    }
}

impl<T: Record> Table<T> {
    fn of(rows: Vec<T>) -> Self {
        Self { loaded: rows.into_iter().map(|row| (row.key().to_owned(), row)).collect(), ..Self::default() }
    }

    /// The row as it is now, drafts included.
    pub fn look(&self, key: &str) -> Option<&T> {
        self.draft.get(key).or_else(|| self.before(key))
    }

    /// A copy of the row as it is now, to change and [`Table::put`] back.
    pub fn take(&self, key: &str) -> Option<T> {
        self.look(key).cloned()
    }

    /// The row as it was before the event at hand.
    pub fn before(&self, key: &str) -> Option<&T> {
        self.changed.get(key).or_else(|| self.loaded.get(key))
    }

    /// Whether there is such a row.
    pub fn contains(&self, key: &str) -> bool {
        self.look(key).is_some()
    }

    /// Puts a new or changed row into the draft.
    pub fn put(&mut self, row: T) {
        self.draft.insert(row.key().to_owned(), row);
    }

    /// Every row as it is now.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let in_changed = self.changed.values().filter(|row| !self.draft.contains_key(row.key()));
        let only_loaded = self
            .loaded
            .values()
            .filter(|row| !self.draft.contains_key(row.key()) && !self.changed.contains_key(row.key()));
        self.draft.values().chain(in_changed).chain(only_loaded)
    }

    fn keep(&mut self) {
        // `append` would build the whole tree anew for the few rows of one event.
        self.changed.extend(std::mem::take(&mut self.draft));
    }

    fn drop_draft(&mut self) {
        self.draft.clear();
    }

    fn changed(&self) -> Vec<&T> {
        let really = |row: &&T| self.loaded.get(row.key()) != Some(*row);
        self.changed.values().filter(really).collect()
    }
}

/// Rows that are only ever added.
#[derive(Debug)]
pub struct Added<T> {
    kept: Vec<T>,
    draft: Vec<T>,
}

impl<T> Default for Added<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), draft: Vec::new() }
    }
}

impl<T> Added<T> {
    /// Adds a row to the draft.
    pub fn add(&mut self, row: T) {
        self.draft.push(row);
    }

    /// What was added and kept, in order.
    pub fn kept(&self) -> &[T] {
        &self.kept
    }

    fn keep(&mut self) {
        self.kept.append(&mut self.draft);
    }
}

/// Every row that a batch may touch.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each field is the table of its type")]
pub struct World {
    pub customers: Table<Customer>,
    pub subscriptions: Table<Subscription>,
    pub invoices: Table<Invoice>,
    pub payments: Table<Payment>,
    pub payment_methods: Table<PaymentMethod>,
    pub licenses: Table<License>,
    pub api_keys: Added<StoredKey>,
    pub widgets: Added<Widget>,
    pub changes: Added<Change>,
    pub license_events: Added<LicenseEvent>,
}

impl World {
    /// Loads what is needed, each customer's row first and for writing: two replicas then take one customer in turn.
    /// Locks are taken table by table, in the order of keys, so that they cannot wait for each other in a circle.
    pub async fn load(tx: &mut Tx, rules: &Rules<'_>, now: Timestamp, needs: &Needs) -> Result<Self, DbError> {
        let default_tier = rules.plans.default_tier();
        let customer = |id: &str| Customer::placeholder(now, id, default_tier);
        let customers = load_or_make(tx, &needs.customers, customer).await?;
        let subscriptions: Vec<Subscription> = tx.load("customer_id", &needs.customers, Lock::None).await?;
        let mut invoices: Vec<Invoice> = tx.load("id", &needs.invoices, Lock::None).await?;
        if rules.plans.past_due_days().is_some() {
            let ids = subscriptions.iter().map(|subscription| subscription.id.clone()).collect();
            invoices.extend(tx.load::<Invoice>("subscription_id", &ids, Lock::None).await?);
        }
        let payments = load_or_make(tx, &needs.payments, Payment::placeholder).await?;
        let payment_methods = load_or_make(tx, &needs.payment_methods, PaymentMethod::placeholder).await?;
        let licenses = tx.load("customer_id", &needs.customers, Lock::None).await?;
        Ok(Self {
            customers: Table::of(customers),
            subscriptions: Table::of(subscriptions),
            invoices: Table::of(invoices),
            payments: Table::of(payments),
            payment_methods: Table::of(payment_methods),
            licenses: Table::of(licenses),
            ..Self::default()
        })
    }

    /// Stores what was kept, in one statement.
    pub async fn store(&self, tx: &mut Tx) -> Result<(), DbError> {
        let writes = tx
            .writes()
            .upsert(&self.customers.changed())
            .upsert(&self.subscriptions.changed())
            .upsert(&self.invoices.changed())
            .upsert(&self.payments.changed())
            .upsert(&self.payment_methods.changed())
            .upsert(&self.licenses.changed())
            // Unique constraints, not checks, make these once a customer: a row that is there already stays.
            .insert(&self.api_keys.kept.iter().collect::<Vec<_>>())
            .insert(&self.widgets.kept.iter().collect::<Vec<_>>())
            .insert(&self.changes.kept.iter().collect::<Vec<_>>())
            .insert(&self.license_events.kept.iter().collect::<Vec<_>>());
        tx.write(writes).await
    }

    /// The changed objects of which nothing but their events' ids says which snapshot is the last.
    pub fn ties(&self) -> Vec<Tie> {
        let tie = |object, id: &str, second| Tie { object, id: id.to_owned(), second };
        let customers = self.customers.changed().into_iter();
        let customers = customers.filter_map(|row| Some(tie(Tied::Customer, &row.id, row.history.tie()?)));
        let subscriptions = self.subscriptions.changed().into_iter();
        let subscriptions = subscriptions.filter_map(|row| Some(tie(Tied::Subscription, &row.id, row.history.tie()?)));
        customers.chain(subscriptions).collect()
    }

    /// Ends one event's draft: what it did is part of the world from here on.
    pub fn keep(&mut self) {
        self.customers.keep();
        self.subscriptions.keep();
        self.invoices.keep();
        self.payments.keep();
        self.payment_methods.keep();
        self.licenses.keep();
        self.api_keys.keep();
        self.widgets.keep();
        self.changes.keep();
        self.license_events.keep();
    }

    /// Ends one event's draft: as if it had not been looked at.
    pub fn drop_draft(&mut self) {
        self.customers.drop_draft();
        self.subscriptions.drop_draft();
        self.invoices.drop_draft();
        self.payments.drop_draft();
        self.payment_methods.drop_draft();
        self.licenses.drop_draft();
        self.api_keys.draft.clear();
        self.widgets.draft.clear();
        self.changes.draft.clear();
        self.license_events.draft.clear();
    }

    /// The customer's row, or a placeholder.
    pub fn customer(&self, rules: &Rules<'_>, now: Timestamp, id: &str) -> Customer {
        self.customers.take(id).unwrap_or_else(|| Customer::placeholder(now, id, rules.plans.default_tier()))
    }

    /// The subscription's row, or a placeholder.
    pub fn subscription(&self, now: Timestamp, id: &str, customer_id: &str) -> Subscription {
        self.subscriptions.take(id).unwrap_or_else(|| Subscription::placeholder(now, id, customer_id))
    }

    /// Every subscription of a customer.
    pub fn subscriptions_of(&self, customer_id: &str) -> Vec<&Subscription> {
        self.subscriptions.all().filter(|subscription| subscription.customer_id == customer_id).collect()
    }

    /// The licence of a customer.
    pub fn license_of(&self, customer_id: &str) -> Option<License> {
        self.licenses.all().find(|license| license.customer_id == customer_id).cloned()
    }

    /// When the oldest open invoice of a subscription first failed.
    pub fn failing_since(&self, subscription_id: &str) -> Option<Timestamp> {
        let open = |invoice: &&Invoice| {
            invoice.status == "open" && invoice.subscription_id.as_deref() == Some(subscription_id)
        };
        self.invoices.all().filter(open).filter_map(|invoice| invoice.first_failed_at).min()
    }
}

/// Loads rows for writing. A row that is not there yet is made first, since nothing can be locked that is not there.
async fn load_or_make<T: Record>(
    tx: &mut Tx,
    keys: &BTreeSet<String>,
    placeholder: impl Fn(&str) -> T,
) -> Result<Vec<T>, DbError> {
    let placeholders: Vec<T> = keys.iter().map(|key| placeholder(key)).collect();
    tx.load_or_insert(&placeholders.iter().collect::<Vec<_>>()).await
}
