//! The lines of an invoice.

use crate::field::view;
use crate::normalize::{Metadata, PodRef, object};
use crate::price::{PriceJson, PriceRef};
use crate::scalar::{Flag, Id, Seconds, Text, Whole};

object! {
    /// One line of an invoice.
    pub struct Line {
        /// What it charges for.
        pub price: PriceRef,
        /// How many.
        pub quantity: Option<i64>,
        /// Unix seconds.
        pub period_start: Option<i64>,
        /// Unix seconds.
        pub period_end: Option<i64>,
        /// Whether it settles a change within a period.
        pub proration: bool,
        /// Whether it is for one of its subscription's own items; else it is for something that is sold once: a set-up
        /// fee, say.
        pub of_subscription_item: bool,
        /// `si_…`
        pub subscription_item: Option<String>,
        /// `sub_…`
        pub subscription: Option<String>,
        /// Minor units; negative for a credit.
        pub amount: i64,
    }
}

view! {
    /// One line of an invoice. Since 2025-03-31 `pricing` says what `price` and `plan` said, and `parent` the rest.
    struct LineJson {
        pricing: Pricing, price: PriceJson, plan: PriceJson, quantity: Whole, period: Period, parent: LineParent,
        proration: Flag, subscription: Id, subscription_item: Id, line_type "type": Text, amount: Whole,
        metadata: Metadata,
    }
}
view! {
    /// What a line's amount was made from.
    struct Pricing { price_details: PriceDetails, }
}
view! {
    /// The price that a line's amount was made from.
    struct PriceDetails { price: PriceJson, product: Id, }
}
view! {
    /// The time that a line is for.
    struct Period { start: Seconds, end: Seconds, }
}
view! {
    /// What a line was made by.
    struct LineParent { subscription_item_details: LineDetails, invoice_item_details: LineDetails, }
}
view! {
    /// The subscription's item, or the single charge, that a line was made by.
    struct LineDetails { proration: Flag, subscription: Id, subscription_item: Id, }
}

impl LineJson {
    /// The pod that the metadata of a subscription's own lines names: theirs is the subscription's. The one place where
    /// an invoice has that in the oldest versions.
    pub(crate) fn pod_of(lines: &[Self]) -> PodRef {
        let own = lines.iter().filter(|line| line.is_of_type_subscription());
        let mut pods = own.map(|line| line.metadata.clone().or_default().pod());
        pods.find(|pod| pod.pod_id.is_some()).unwrap_or_default()
    }

    fn is_of_type_subscription(&self) -> bool {
        self.line_type.as_ref().is_some_and(|Text(line_type)| line_type == "subscription")
    }

    /// Our form of it.
    pub(crate) fn normalize(self) -> Line {
        let is_of_type = self.is_of_type_subscription();
        let LineParent { subscription_item_details, invoice_item_details } = self.parent.or_default();
        let is_items_own = subscription_item_details.as_ref().is_some();
        let parent = subscription_item_details.value().or(invoice_item_details.value()).unwrap_or_default();
        let subscription_item = parent.subscription_item.text().or(self.subscription_item.text());
        let Period { start, end } = self.period.or_default();
        let old_price = self.price.value().or(self.plan.value()).unwrap_or_default().reference();
        Line {
            price: self.pricing.or_default().price_details.or_default().reference(old_price),
            quantity: self.quantity.number(),
            period_start: start.seconds(),
            period_end: end.seconds(),
            proration: parent.proration.flag().or(self.proration.flag()).unwrap_or_default(),
            of_subscription_item: is_items_own || subscription_item.is_some() || is_of_type,
            subscription_item,
            subscription: parent.subscription.text().or(self.subscription.text()),
            amount: self.amount.number().unwrap_or_default(),
        }
    }
}

impl PriceDetails {
    /// The price, with what only the old place, `old`, tells of it: its lookup key.
    fn reference(self, old: PriceRef) -> PriceRef {
        let new = self.price.or_default().reference();
        if new.id.is_some() && old.id.is_some() && new.id != old.id {
            return PriceRef { product: self.product.text().or(new.product), ..new };
        }
        PriceRef {
            id: new.id.or(old.id),
            lookup_key: new.lookup_key.or(old.lookup_key),
            product: self.product.text().or(new.product).or(old.product),
        }
    }
}
