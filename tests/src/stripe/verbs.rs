//! What happens in a merchant's life: each verb changes the truth and emits the events that the real Stripe does.
//!
//! None of them moves the clock, except where Stripe itself takes its time (an hour between a renewal's draft and its
//! payment). Verbs panic on what the real one would refuse: a test that asks for it is wrong.

use super::Stripe;
use super::catalogue::PRO_MONTHLY;
use super::model::{
    CheckoutSession, Coupon, Customer, Item, Metadata, Mode, Opening, PaymentMethod, Period, Price, Status,
    Subscription,
};

mod attempts;
mod calls;
mod cards;
mod changes;
mod clock;
mod invoicing;
mod lifecycle;
mod one_off;
mod pending;
mod till;
mod undoing;

pub use attempts::Attempt;
pub use calls::{FirstPayment, Unpaid};
pub use cards::NewCard;
pub use changes::{ItemChange, Prorated};
pub use lifecycle::{Billed, GiveUp};
pub use one_off::{OneOff, Paying};
pub use till::Buyer;

/// A visit to the till that starts a subscription.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// What is bought, the first item first.
    pub prices: Vec<&'static Price>,
    /// Of the first item.
    pub quantity: i64,
    /// Our user, as the session's reference.
    pub client_reference_id: Option<String>,
    /// Our user, in the session's metadata.
    pub session_user: Option<String>,
    /// Our user, in the subscription's metadata.
    pub subscription_user: Option<String>,
    /// Free days before the first payment.
    pub trial_days: Option<i64>,
    /// What is on the first invoice beside: no item of the subscription.
    pub fee: Option<&'static Price>,
    /// Whether the card becomes the subscription's alone, as Checkout does it, or the customer's default too.
    pub card_is_the_subscriptions: bool,
}

impl Checkout {
    /// One of `price`, at once, without naming a user.
    pub fn of(price: &'static Price) -> Self {
        Self {
            prices: vec![price],
            quantity: 1,
            client_reference_id: None,
            session_user: None,
            subscription_user: None,
            trial_days: None,
            fee: None,
            card_is_the_subscriptions: false,
        }
    }

    /// Names the user by the session's reference.
    pub fn by(mut self, user: &str) -> Self {
        self.client_reference_id = Some(user.to_owned());
        self
    }
}

impl Default for Checkout {
    fn default() -> Self {
        Self::of(&PRO_MONTHLY)
    }
}

/// A subscription that is to be.
#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    /// Whose.
    pub customer: &'a str,
    /// Of what, the first item first.
    pub prices: &'a [&'static Price],
    /// Of the first price.
    pub quantity: i64,
    /// Free text.
    pub metadata: Metadata,
    /// When its free days end.
    pub trial_end: Option<i64>,
    /// When its first period begins that is paid for, without a trial before it.
    pub anchor: Option<i64>,
    /// What is on the first invoice beside.
    pub fee: Option<&'static Price>,
    /// What is taken off.
    pub coupon: Option<&'static Coupon>,
}

impl<'a> NewSubscription<'a> {
    /// One of each price, at once.
    pub fn of(customer: &'a str, prices: &'a [&'static Price]) -> Self {
        let metadata = Metadata::new();
        Self { customer, prices, quantity: 1, metadata, trial_end: None, anchor: None, fee: None, coupon: None }
    }
}

/// `user_id` where there is one.
fn user_metadata(user: Option<&str>) -> Metadata {
    user.map(|user| ("user_id".to_owned(), user.to_owned())).into_iter().collect()
}

impl Stripe {
    /// A new customer. `user` goes into its metadata.
    pub fn sign_up(&mut self, email: &str, name: &str, user: Option<&str>) -> String {
        self.sign_up_by_call(Some(email), Some(name), user)
    }

    /// A new customer that a server makes.
    pub fn sign_up_by_call(&mut self, email: Option<&str>, name: Option<&str>, user: Option<&str>) -> String {
        self.sign_up_with(email, name, user_metadata(user))
    }

    /// The same with any metadata.
    pub fn sign_up_with(&mut self, email: Option<&str>, name: Option<&str>, metadata: Metadata) -> String {
        let customer = Customer {
            id: self.ids.short("cus", 14),
            created: self.now,
            email: email.map(str::to_owned),
            name: name.map(str::to_owned),
            metadata,
            default_payment_method: None,
            default_source: None,
            currency: None,
            deleted: false,
        };
        self.customers.insert(customer.id.clone(), customer.clone());
        let id = customer.id.clone();
        self.emit("customer.created", customer);
        id
    }

    /// Changes a customer's name and e-mail address.
    pub fn rename(&mut self, customer: &str, email: &str, name: &str) {
        self.change_customer(customer, |customer| {
            customer.email = Some(email.to_owned());
            customer.name = Some(name.to_owned());
        });
    }

    /// Ends all of a customer's subscriptions and deletes it.
    pub fn delete_customer(&mut self, customer: &str) {
        for subscription in self.running_subscriptions(customer) {
            self.cancel(&subscription);
        }
        let deleted = self.customers.get_mut(customer).expect("only a customer that is there is deleted");
        deleted.deleted = true;
        let deleted = deleted.clone();
        self.emit("customer.deleted", deleted);
    }

    /// Goes through the till: a card, a subscription, its first payment, and the session that says so. Returns the
    /// subscription and the session.
    pub fn checkout(&mut self, customer: &str, order: &Checkout) -> (String, String) {
        let opened = self.now;
        let card = self.attach_card(customer, "visa", "4242");
        let subscription = self.subscribe_and_pay(NewSubscription {
            quantity: order.quantity,
            metadata: user_metadata(order.subscription_user.as_deref()),
            trial_end: order.trial_days.map(|days| opened + days * super::DAY),
            fee: order.fee,
            ..NewSubscription::of(customer, &order.prices)
        });
        if order.card_is_the_subscriptions {
            self.give_subscription_card(&subscription, &card);
        } else {
            self.make_default_card(customer, &card);
        }
        let invoice = self.subscriptions[&subscription].latest_invoice.clone();
        let amount_total = invoice.as_ref().map_or(0, |invoice| self.invoices[invoice].amount_due);
        let session = self.finish_session(CheckoutSession {
            id: self.new_session_id(),
            mode: Mode::Subscription,
            status: "complete",
            payment_status: if amount_total > 0 { "paid" } else { "no_payment_required" },
            customer: customer.to_owned(),
            prices: order.prices.clone(),
            subscription: Some(subscription.clone()),
            invoice,
            payment_intent: None,
            client_reference_id: order.client_reference_id.clone(),
            metadata: user_metadata(order.session_user.as_deref()),
            amount_total,
            currency: order.prices[0].currency.to_owned(),
            created: opened,
            email: self.customers[customer].email.clone(),
            name: self.customers[customer].name.clone(),
            opened: Opening { quantity: order.quantity, ..Opening::default() },
        });
        (subscription, session)
    }

    /// A subscription with all that is due for it at its start.
    pub(super) fn subscribe_and_pay(&mut self, new: NewSubscription) -> String {
        let is_on_trial = new.trial_end.is_some();
        let subscription = self.subscribe_with(new);
        let first = self.latest_invoice(&subscription);
        self.pay_if_owed(&first);
        if !is_on_trial {
            self.change_subscription(&subscription, |subscription| subscription.status = Status::Active);
        }
        subscription
    }

    /// A session that nobody finished.
    pub fn abandon_session(&mut self, customer: &str, user: Option<&str>) -> String {
        let session = CheckoutSession {
            id: self.new_session_id(),
            mode: Mode::Subscription,
            status: "expired",
            payment_status: "unpaid",
            customer: customer.to_owned(),
            prices: vec![&PRO_MONTHLY],
            subscription: None,
            invoice: None,
            payment_intent: None,
            client_reference_id: user.map(str::to_owned),
            metadata: Metadata::new(),
            amount_total: PRO_MONTHLY.unit_amount,
            currency: PRO_MONTHLY.currency.to_owned(),
            created: self.now,
            email: None,
            name: None,
            opened: Opening::default(),
        };
        self.sessions.insert(session.id.clone(), session.clone());
        let id = session.id.clone();
        self.emit("checkout.session.expired", session);
        id
    }

    /// A subscription made by an API call: incomplete with an open invoice, or trialing with a paid one of zero.
    pub fn subscribe(
        &mut self,
        customer: &str,
        prices: &[&'static Price],
        quantity: i64,
        metadata: Metadata,
        trial_days: Option<i64>,
    ) -> String {
        let trial_end = trial_days.map(|days| self.now + days * super::DAY);
        self.subscribe_with(NewSubscription { quantity, metadata, trial_end, ..NewSubscription::of(customer, prices) })
    }

    pub(super) fn subscribe_with(&mut self, new: NewSubscription) -> String {
        let NewSubscription { customer, prices, quantity, metadata, trial_end, anchor, fee, coupon } = new;
        let now = self.now;
        let trial = trial_end.map(|end| Period { start: now, end });
        let whole = || Period { start: now, end: prices[0].interval.end_of_period(now, now) };
        let period = trial.or(anchor.map(|end| Period { start: now, end })).unwrap_or_else(whole);
        let items = prices.iter().enumerate().map(|(index, price)| Item {
            id: self.ids.short("si", 14),
            created: now,
            price,
            lookup_key: None,
            quantity: if index == 0 { quantity } else { 1 },
            period,
            deleted: false,
        });
        let mut subscription = Subscription {
            id: self.ids.long("sub"),
            customer: customer.to_owned(),
            created: now,
            status: match (trial, anchor) {
                (Some(_), _) => Status::Trialing,
                (None, Some(_)) => Status::Active,
                (None, None) => Status::Incomplete,
            },
            items: items.collect(),
            cancel_at_period_end: false,
            cancel_at: None,
            canceled_at: None,
            ended_at: None,
            trial,
            pause_collection: None,
            metadata,
            coupon,
            default_payment_method: self.customers[customer].default_payment_method.clone(),
            latest_invoice: None,
            anchor: trial_end.or(anchor).unwrap_or(now),
            is_free_until: anchor,
            pending_update: None,
        };
        let id = subscription.id.clone();
        if let Some(fee) = fee {
            let line = self.one_off_line(fee);
            self.pending_lines.insert(id.clone(), vec![line]);
        }
        let invoice = self.draft_invoice(&subscription, "subscription_create");
        subscription.latest_invoice = Some(invoice.id.clone());
        self.subscriptions.insert(id.clone(), subscription.clone());
        self.emit("customer.subscription.created", subscription);
        let invoice = self.keep_invoice(invoice);
        self.finalize(&invoice);
        let currency = prices[0].currency;
        if self.customers[customer].currency.is_none() {
            self.change_customer(customer, |customer| customer.currency = Some(currency.to_owned()));
        }
        id
    }

    /// Raises a price: the new one takes the lookup key over (`transfer_lookup_key`). Nobody's subscription changes, and
    /// the old price has no key from now on.
    pub fn move_lookup_key(&mut self, key: &'static str, to: &'static Price) {
        self.moved_lookup_keys.insert(key, to);
    }

    /// The ids of a customer's subscriptions that have not ended.
    pub fn running_subscriptions(&self, customer: &str) -> Vec<String> {
        let theirs = self.subscriptions.values().filter(|subscription| subscription.customer == customer);
        theirs.filter(|subscription| !subscription.status.is_final()).map(|running| running.id.clone()).collect()
    }

    pub(super) fn change_customer(&mut self, id: &str, change: impl FnOnce(&mut Customer)) {
        let customer = self.customers.get_mut(id).expect("only a customer that is there is changed");
        let before = customer.clone();
        change(customer);
        let after = customer.clone();
        if before != after {
            self.emit_change("customer.updated", before, after);
        }
    }

    pub(super) fn change_subscription(&mut self, id: &str, change: impl FnOnce(&mut Subscription)) {
        let subscription = self.subscriptions.get_mut(id).expect("only a subscription that is there is changed");
        assert!(!subscription.status.is_final(), "what has ended does not change");
        let before = subscription.clone();
        change(subscription);
        let after = subscription.clone();
        if before != after {
            self.emit_change("customer.subscription.updated", before, after);
        }
    }

    fn change_card_details(&mut self, event_type: &'static str, id: &str, change: impl FnOnce(&mut PaymentMethod)) {
        let method = self.payment_methods.get_mut(id).expect("only a card that is there is changed");
        let before = method.clone();
        change(method);
        let after = method.clone();
        self.emit_change(event_type, before, after);
    }

    fn finish_session(&mut self, session: CheckoutSession) -> String {
        self.sessions.insert(session.id.clone(), session.clone());
        let id = session.id.clone();
        self.emit("checkout.session.completed", session);
        id
    }

    fn new_session_id(&self) -> String {
        self.ids.short(if self.livemode { "cs_live" } else { "cs_test" }, 58)
    }
}
