//! Stripe's objects as they are sent: where each version keeps what we read, and how that becomes one form.

use std::collections::BTreeMap;

use serde::de::{Deserializer, MapAccess};

use crate::field::{
    self, Field, Flag, Id, Label, Members, Overlay, Presence, Read, Seconds, Text, Whole, fit_id, view,
};
use crate::objects::{self, PriceRef};

/// An object lacks what it cannot do without. Says what, never what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is missing or of an unexpected type")]
pub struct Unreadable {
    /// The member, as a path from the event.
    pub field: &'static str,
}

/// One of Stripe's objects, to be made into one of ours.
pub(crate) trait Observed: Clone + Overlay {
    /// Our form.
    type Form;

    /// Our form of it, unless it lacks what that cannot do without.
    fn observed(self) -> Result<Self::Form, Unreadable>;

    /// The object before an event, which names those of its members that changed with their values before.
    fn before(mut self, previous: Self) -> Self {
        self.overlay(previous);
        self
    }
}

fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Unreadable> {
    value.ok_or(Unreadable { field })
}

fn required_id(id: Field<Id>) -> Result<String, Unreadable> {
    required(id.text(), "data.object.id")
}

view! {
    /// The whole of an event around its object.
    struct Envelope<T> { data: Data<T>, }
}
view! {
    /// The object, and those of its members that changed with their values before.
    struct Data<T> { object: T, previous_attributes: T, }
}
view! {
    /// A page of a list that is part of an object.
    struct List<T> { data: Vec<T>, total_count: Whole, }
}
view! {
    /// What the shop wrote on an object.
    struct Metadata { user_id: Label, }
}

view! {
    /// A price, there as its id or expanded; or a plan, which is what prices were before 2020.
    struct Price { id: Id, lookup_key: Text, product: Id, }
    of_text |text: &str| Some(Price { id: Field::Set(Id(fit_id(text.to_owned())?)), ..Price::default() })
}

impl Price {
    fn reference(self) -> PriceRef {
        PriceRef { id: self.id.text(), lookup_key: self.lookup_key.text(), product: self.product.text() }
    }
}

view! {
    /// A subscription. Its period moved to its items in 2025-03-31; it still has `plan` and `quantity` of a single item.
    struct Subscription {
        id: Id, customer: Id, status: Label, created: Seconds, items: List<Item>,
        current_period_start: Seconds, current_period_end: Seconds, plan: Price, quantity: Whole,
        cancel_at_period_end: Flag, cancel_at: Seconds, canceled_at: Seconds, ended_at: Seconds, trial_end: Seconds,
        pause_collection: Presence, metadata: Metadata, default_payment_method: Id, latest_invoice: Id,
    }
}
view! {
    /// One of a subscription's items.
    struct Item {
        id: Id, price: Price, plan: Price, quantity: Whole, current_period_start: Seconds, current_period_end: Seconds,
    }
}

impl Observed for Subscription {
    type Form = objects::Subscription;

    fn observed(self) -> Result<objects::Subscription, Unreadable> {
        let List { data: items, total_count } = self.items.or_default();
        let (start, end) = (self.current_period_start.seconds(), self.current_period_end.seconds());
        let items: Vec<_> = items.or_default().into_iter().map(|item| item.within(start, end)).collect();
        Ok(objects::Subscription {
            id: required_id(self.id)?,
            customer: required(self.customer.text(), "data.object.customer")?,
            status: required(self.status.text(), "data.object.status")?,
            created: self.created.seconds(),
            item_count: total_count.number().unwrap_or_default().max(items.len() as i64),
            items,
            cancel_at_period_end: self.cancel_at_period_end.flag().unwrap_or_default(),
            cancel_at: self.cancel_at.seconds(),
            canceled_at: self.canceled_at.seconds(),
            ended_at: self.ended_at.seconds(),
            trial_end: self.trial_end.seconds(),
            collection_paused: self.pause_collection.value().is_some(),
            user_id: self.metadata.or_default().user_id.text(),
            default_payment_method: self.default_payment_method.text(),
            latest_invoice: self.latest_invoice.text(),
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

impl Subscription {
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
    items: &mut [Item],
    place: fn(&mut Item) -> &mut Field<Seconds>,
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

impl Item {
    /// The item of a subscription whose own period is from `start` to `end`.
    fn within(self, start: Option<i64>, end: Option<i64>) -> objects::Item {
        objects::Item {
            id: self.id.text().unwrap_or_default(),
            price: self.price.value().or(self.plan.value()).unwrap_or_default().reference(),
            quantity: self.quantity.number(),
            period_start: self.current_period_start.seconds().or(start),
            period_end: self.current_period_end.seconds().or(end),
        }
    }
}

view! {
    /// A customer.
    struct Customer {
        id: Id, name: Text, email: Text, deleted: Flag, invoice_settings: InvoiceSettings, metadata: Metadata,
        created: Seconds,
    }
}
view! {
    /// How a customer's invoices are made and paid.
    struct InvoiceSettings { default_payment_method: Id, }
}

impl Observed for Customer {
    type Form = objects::Customer;

    fn observed(self) -> Result<objects::Customer, Unreadable> {
        Ok(objects::Customer {
            id: required_id(self.id)?,
            name: self.name.text(),
            email: self.email.text(),
            deleted: self.deleted.flag().unwrap_or_default(),
            default_payment_method: self.invoice_settings.or_default().default_payment_method.text(),
            user_id: self.metadata.or_default().user_id.text(),
            created: self.created.seconds(),
        })
    }
}

view! {
    /// An invoice. Its subscription moved to `parent` in 2025-03-31, its payment intent to `payments`, which events lack.
    struct Invoice {
        id: Id, customer: Id, parent: InvoiceParent, subscription: Id, status: Label, currency: Text,
        amount_due: Whole, amount_paid: Whole, attempt_count: Whole, next_payment_attempt: Seconds, created: Seconds,
        status_transitions: StatusTransitions, number: Text, hosted_invoice_url: Text, invoice_pdf: Text,
        payments: List<InvoicePayment>, payment_intent: Id, lines: List<Line>,
    }
}
view! {
    /// What an invoice was made for.
    struct InvoiceParent { subscription_details: SubscriptionDetails, }
}
view! {
    /// The subscription that an invoice was made for.
    struct SubscriptionDetails { subscription: Id, }
}
view! {
    /// When an invoice came to what it is.
    struct StatusTransitions { paid_at: Seconds, }
}

impl Observed for Invoice {
    type Form = objects::Invoice;

    fn observed(self) -> Result<objects::Invoice, Unreadable> {
        let parent = self.parent.or_default().subscription_details.or_default();
        let payments = self.payments.or_default().data.or_default();
        let lines = self.lines.or_default().data.or_default();
        Ok(objects::Invoice {
            id: required_id(self.id)?,
            customer: self.customer.text(),
            subscription: parent.subscription.text().or(self.subscription.text()),
            status: required(self.status.text(), "data.object.status")?,
            currency: self.currency.currency(),
            amount_due: self.amount_due.number().unwrap_or_default(),
            amount_paid: self.amount_paid.number().unwrap_or_default(),
            attempt_count: self.attempt_count.number().unwrap_or_default(),
            next_payment_attempt: self.next_payment_attempt.seconds(),
            created: self.created.seconds(),
            paid_at: self.status_transitions.or_default().paid_at.seconds(),
            number: self.number.text(),
            hosted_invoice_url: self.hosted_invoice_url.text(),
            invoice_pdf: self.invoice_pdf.text(),
            payment_intent: paying_intent(payments).or(self.payment_intent.text()),
            lines: lines.into_iter().map(Line::observed).collect(),
        })
    }
}

/// The intent that paid an invoice, else the one that is to pay it, else any that was made for it.
fn paying_intent(payments: Vec<InvoicePayment>) -> Option<String> {
    let rank = |payment: &InvoicePayment| {
        let is_paid = payment.status.as_ref().is_some_and(|Text(status)| status == "paid");
        let is_default = payment.is_default.as_ref().is_some_and(|Flag(flag)| *flag);
        (!is_paid, !is_default)
    };
    let with_intent = payments.into_iter().filter_map(|payment| {
        let rank = rank(&payment);
        Some((rank, payment.payment.or_default().payment_intent.text()?))
    });
    with_intent.min_by_key(|(rank, _)| *rank).map(|(_, intent)| intent)
}

view! {
    /// One line of an invoice. Since 2025-03-31 `pricing` says what `price` and `plan` said, and `parent` the rest.
    struct Line {
        pricing: Pricing, price: Price, plan: Price, quantity: Whole, period: Period, parent: LineParent,
        proration: Flag, subscription: Id, amount: Whole,
    }
}
view! {
    /// What a line's amount was made from.
    struct Pricing { price_details: PriceDetails, }
}
view! {
    /// The price that a line's amount was made from.
    struct PriceDetails { price: Price, product: Id, }
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
    struct LineDetails { proration: Flag, subscription: Id, }
}

impl Line {
    fn observed(self) -> objects::Line {
        let LineParent { subscription_item_details, invoice_item_details } = self.parent.or_default();
        let parent = subscription_item_details.value().or(invoice_item_details.value()).unwrap_or_default();
        let Period { start, end } = self.period.or_default();
        let old_price = self.price.value().or(self.plan.value()).unwrap_or_default().reference();
        objects::Line {
            price: self.pricing.or_default().price_details.or_default().reference(old_price),
            quantity: self.quantity.number(),
            period_start: start.seconds(),
            period_end: end.seconds(),
            proration: parent.proration.flag().or(self.proration.flag()).unwrap_or_default(),
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

view! {
    /// A Checkout session.
    struct CheckoutSession {
        id: Id, mode: Text, payment_status: Text, customer: Id, subscription: Id, invoice: Id, payment_intent: Id,
        client_reference_id: Label, metadata: Metadata, amount_total: Whole, currency: Text, created: Seconds,
    }
}

impl Observed for CheckoutSession {
    type Form = objects::CheckoutSession;

    fn observed(self) -> Result<objects::CheckoutSession, Unreadable> {
        Ok(objects::CheckoutSession {
            id: required_id(self.id)?,
            mode: self.mode.text(),
            payment_status: self.payment_status.text(),
            customer: self.customer.text(),
            subscription: self.subscription.text(),
            invoice: self.invoice.text(),
            payment_intent: self.payment_intent.text(),
            client_reference_id: self.client_reference_id.text(),
            user_id: self.metadata.or_default().user_id.text(),
            amount_total: self.amount_total.number(),
            currency: self.currency.currency(),
            created: self.created.seconds(),
        })
    }
}

view! {
    /// A payment of an invoice.
    struct InvoicePayment { id: Id, invoice: Id, payment: Payment, status: Text, is_default: Flag, }
}
view! {
    /// What the money came by.
    struct Payment { payment_intent: Id, }
}

impl Observed for InvoicePayment {
    type Form = objects::InvoicePayment;

    fn observed(self) -> Result<objects::InvoicePayment, Unreadable> {
        Ok(objects::InvoicePayment {
            id: required_id(self.id)?,
            invoice: self.invoice.text(),
            payment_intent: self.payment.or_default().payment_intent.text(),
            status: self.status.text(),
        })
    }
}

view! {
    /// A payment intent. Up to 2025-03-31 it named its invoice.
    struct PaymentIntent {
        id: Id, customer: Id, status: Text, amount: Whole, currency: Text, created: Seconds, invoice: Id,
        last_payment_error: PaymentError,
    }
}
view! {
    /// Why the last attempt failed.
    struct PaymentError { decline_code: Text, code: Text, }
}

impl Observed for PaymentIntent {
    type Form = objects::PaymentIntent;

    fn observed(self) -> Result<objects::PaymentIntent, Unreadable> {
        let PaymentError { decline_code, code } = self.last_payment_error.or_default();
        Ok(objects::PaymentIntent {
            id: required_id(self.id)?,
            customer: self.customer.text(),
            status: self.status.text(),
            amount: self.amount.number().unwrap_or_default(),
            currency: self.currency.currency(),
            created: self.created.seconds(),
            invoice: self.invoice.text(),
            failure_code: decline_code.text().or(code.text()),
        })
    }
}

/// A payment method. What it is, is in a member that is called as its `type`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PaymentMethod {
    id: Field<Id>,
    customer: Field<Id>,
    kind: Field<Text>,
    details: BTreeMap<Vec<u8>, Instrument>,
}
view! {
    /// What a payer would recognise a payment method by.
    struct Instrument { brand: Text, last4: Text, }
}

impl<'de> Members<'de> for PaymentMethod {
    fn member<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        match name {
            b"id" => self.id = map.next_value()?,
            b"customer" => self.customer = map.next_value()?,
            b"type" => self.kind = map.next_value()?,
            _ => {
                // `type` may come after what it names.
                if let Field::Set(instrument) = map.next_value()? {
                    self.details.insert(name.to_vec(), instrument);
                }
            }
        }
        Ok(true)
    }
}

impl<'de> Read<'de> for PaymentMethod {
    fn read<D: Deserializer<'de>>(json: D) -> Result<Field<Self>, D::Error> {
        json.deserialize_any(field::Object::new())
    }
}

impl Overlay for PaymentMethod {
    fn overlay(&mut self, previous: Self) {
        self.customer.overlay(previous.customer);
    }
}

impl Observed for PaymentMethod {
    type Form = objects::PaymentMethod;

    fn observed(mut self) -> Result<objects::PaymentMethod, Unreadable> {
        let kind = self.kind.text();
        let instrument = self.details.remove(kind.as_deref().unwrap_or("card").as_bytes()).unwrap_or_default();
        Ok(objects::PaymentMethod {
            id: required_id(self.id)?,
            customer: self.customer.text(),
            brand: instrument.brand.text().or(kind),
            last4: instrument.last4.text(),
        })
    }
}
