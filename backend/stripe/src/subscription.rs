//! Subscriptions and their items.

use crate::field::{Field, Overlay as _, view};
use crate::normalize::{List, Metadata, Normalize, PodRef, Unreadable, customer, object, required, required_id};
use crate::price::{PriceJson, PriceRef};
use crate::scalar::{Flag, Id, Label, Presence, Seconds, Whole};

object! {
    /// One thing that a subscription is for.
    pub struct Item {
        /// `si_…`; empty when Stripe sent none.
        pub id: String,
        /// What is paid for it.
        pub price: PriceRef,
        /// How many.
        pub quantity: Option<i64>,
        /// Unix seconds; the item's own, else the subscription's.
        pub period_start: Option<i64>,
        /// Unix seconds; the item's own, else the subscription's.
        pub period_end: Option<i64>,
    }
}

object! {
    /// A subscription.
    pub struct Subscription {
        /// `sub_…`
        pub id: String,
        /// `cus_…`, or `acct_…` of an account that buys.
        pub customer: String,
        /// `active`, `past_due`, … or one that Stripe adds later.
        pub status: String,
        /// Unix seconds.
        pub created: Option<i64>,
        /// Those that the snapshot carries, in Stripe's order, without those that are deleted.
        pub items: Vec<Item>,
        /// How many there are without the deleted ones, which may be more than the snapshot carries.
        pub item_count: i64,
        /// Whether it ends with the period.
        pub cancel_at_period_end: bool,
        /// When it will end; Unix seconds.
        pub cancel_at: Option<i64>,
        /// When somebody asked for its end; Unix seconds.
        pub canceled_at: Option<i64>,
        /// When it ended; Unix seconds.
        pub ended_at: Option<i64>,
        /// Unix seconds.
        pub trial_end: Option<i64>,
        /// Whether invoices are made and not collected (`pause_collection`); its status does not say.
        pub collection_paused: bool,
        /// `metadata.user_id`, when it is not blank.
        pub user_id: Option<String>,
        /// `pm_…`
        pub default_payment_method: Option<String>,
        /// `in_…`
        pub latest_invoice: Option<String>,
        /// The pod that it pays into. Read since the second version of this form.
        pub pod: PodRef,
    }
}

impl Subscription {
    /// The version of this form: one more with each field that is added, so that a state that was kept before can be
    /// told from one in which the field is empty.
    pub const VERSION: u32 = 2;

    /// What a release that knew only `version` of this form would have read.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        if version < 2 {
            self.pod = PodRef::default();
        }
        self
    }
}

view! {
    /// A subscription. Its period moved to its items in 2025-03-31; it still has `plan` and `quantity` of a single item.
    struct SubscriptionJson {
        id: Id, customer: Id, customer_account: Id, status: Label, created: Seconds, items: List<ItemJson>,
        current_period_start: Seconds, current_period_end: Seconds, plan: PriceJson, quantity: Whole,
        cancel_at_period_end: Flag, cancel_at: Seconds, canceled_at: Seconds, ended_at: Seconds, trial_end: Seconds,
        pause_collection: Presence, metadata: Metadata, default_payment_method: Id, latest_invoice: Id,
    }
}
view! {
    /// One of a subscription's items.
    struct ItemJson {
        id: Id, price: PriceJson, plan: PriceJson, quantity: Whole, deleted: Flag, current_period_start: Seconds, current_period_end: Seconds,
    }
}

impl Normalize for SubscriptionJson {
    type Output = Subscription;

    fn normalize(self) -> Result<Subscription, Unreadable> {
        let List { data: items, total_count } = self.items.or_default();
        let (start, end) = (self.current_period_start.seconds(), self.current_period_end.seconds());
        let (deleted, items): (Vec<_>, Vec<_>) = items.or_default().into_iter().partition(ItemJson::is_deleted);
        let items: Vec<_> = items.into_iter().map(|item| item.within(start, end)).collect();
        let metadata = self.metadata.or_default();
        let item_count = total_count.number().unwrap_or_default().saturating_sub(deleted.len() as i64);
        Ok(Subscription {
            id: required_id(self.id)?,
            customer: required(customer(self.customer, self.customer_account), "data.object.customer")?,
            status: required(self.status.text(), "data.object.status")?,
            created: self.created.seconds(),
            item_count: item_count.max(items.len() as i64),
            items,
            cancel_at_period_end: self.cancel_at_period_end.flag().unwrap_or_default(),
            cancel_at: self.cancel_at.seconds(),
            canceled_at: self.canceled_at.seconds(),
            ended_at: self.ended_at.seconds(),
            trial_end: self.trial_end.seconds(),
            collection_paused: self.pause_collection.value().is_some(),
            user_id: metadata.user_id.clone().text(),
            default_payment_method: self.default_payment_method.text(),
            latest_invoice: self.latest_invoice.text(),
            pod: metadata.pod(),
        })
    }

    fn before(mut self, previous: Self) -> Self {
        if previous.items.as_ref().is_none_or(|items| !items.data.is_named()) {
            self.bring_to_items(&previous);
        }
        self.overlay(previous);
        self
    }
}

impl SubscriptionJson {
    /// Brings to the items what `previous` says of them in the old places alone: the items' own members are read first,
    /// and would hide that something changed.
    fn bring_to_items(&mut self, previous: &Self) {
        let Some(items) = self.items.as_mut().and_then(|items| items.data.as_mut()) else { return };
        let start = (&self.current_period_start, &previous.current_period_start);
        let end = (&self.current_period_end, &previous.current_period_end);
        bring_period(items, |item| &mut item.current_period_start, start);
        bring_period(items, |item| &mut item.current_period_end, end);
        if let [item] = &mut items[..] {
            item.quantity.overlay(previous.quantity.clone());
            if previous.plan.as_ref().is_some() {
                item.plan.overlay(previous.plan.clone());
                item.price = Field::Void;
            }
        }
    }
}

/// Sets one end of the items' period to the value that the subscription's had before, where it has the value that the
/// subscription's has now: items that are billed at another interval have a period of their own.
fn bring_period(
    items: &mut [ItemJson],
    place: fn(&mut ItemJson) -> &mut Field<Seconds>,
    (now, before): (&Field<Seconds>, &Field<Seconds>),
) {
    if !before.is_named() {
        return;
    }
    let any_shares_it = items.iter_mut().any(|item| place(item) == now);
    for item in items {
        if !any_shares_it || place(item) == now {
            *place(item) = before.clone();
        }
    }
}

impl ItemJson {
    /// Whether it is gone already, and listed once more.
    fn is_deleted(&self) -> bool {
        self.deleted.as_ref().is_some_and(|Flag(deleted)| *deleted)
    }

    /// The item of a subscription whose own period is from `start` to `end`.
    fn within(self, start: Option<i64>, end: Option<i64>) -> Item {
        Item {
            id: self.id.text().unwrap_or_default(),
            price: self.price.value().or(self.plan.value()).unwrap_or_default().reference(),
            quantity: self.quantity.number(),
            period_start: self.current_period_start.seconds().or(start),
            period_end: self.current_period_end.seconds().or(end),
        }
    }
}
