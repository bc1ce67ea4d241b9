//! Cards: attached, made the default, renewed by the bank, detached.

use crate::stripe::Stripe;
use crate::stripe::model::PaymentMethod;

impl Stripe {
    /// A new card of the customer, not its default yet.
    pub fn attach_card(&mut self, customer: &str, brand: &'static str, last4: &str) -> String {
        let card = PaymentMethod {
            id: self.ids.long("pm"),
            customer: Some(customer.to_owned()),
            brand,
            last4: last4.to_owned(),
            created: self.now,
            exp_year: 2030,
        };
        self.payment_methods.insert(card.id.clone(), card.clone());
        let id = card.id.clone();
        self.emit("payment_method.attached", card);
        id
    }

    /// Makes a card the customer's default, and that of its running subscriptions, as the customer portal does.
    pub fn make_default_card(&mut self, customer: &str, card: &str) {
        self.change_customer(customer, |customer| customer.default_payment_method = Some(card.to_owned()));
        for subscription in self.running_subscriptions(customer) {
            self.change_subscription(&subscription, |subscription| {
                subscription.default_payment_method = Some(card.to_owned());
            });
        }
    }

    /// Attaches another card and makes it the default.
    pub fn change_card(&mut self, customer: &str, brand: &'static str, last4: &str) -> String {
        let card = self.attach_card(customer, brand, last4);
        self.make_default_card(customer, &card);
        card
    }

    /// Makes a card a subscription's own, whatever the customer's default is.
    pub fn give_subscription_card(&mut self, subscription: &str, card: &str) {
        self.change_subscription(subscription, |subscription| {
            subscription.default_payment_method = Some(card.to_owned());
        });
    }

    /// A card from before there were payment methods: the customer's default source.
    pub fn add_source(&mut self, customer: &str, brand: &'static str, last4: &str) -> String {
        let source = PaymentMethod {
            id: self.ids.long("card"),
            customer: Some(customer.to_owned()),
            brand,
            last4: last4.to_owned(),
            created: self.now,
            exp_year: 2031,
        };
        let id = source.id.clone();
        self.payment_methods.insert(id.clone(), source.clone());
        self.emit("payment_method.attached", source);
        self.change_customer(customer, |customer| customer.default_source = Some(id.clone()));
        id
    }

    /// The card's network has told Stripe of a new one, and no other event does.
    pub fn replace_card_by_its_network(&mut self, card: &str, last4: &str) {
        self.change_card_details("payment_method.automatically_updated", card, |card| {
            card.exp_year += 4;
            last4.clone_into(&mut card.last4);
        });
    }

    /// The bank has sent a new one: same card, new year and number.
    pub fn reissue_card(&mut self, card: &str, last4: &str) {
        self.change_card_details("payment_method.updated", card, |card| {
            card.exp_year += 4;
            last4.clone_into(&mut card.last4);
        });
    }

    /// Takes the customer's default card away, everywhere.
    pub fn detach_card(&mut self, customer: &str) {
        let Some(card) = self.customers[customer].default_payment_method.clone() else { return };
        let method = self.payment_methods.get_mut(&card).expect("a default card is there");
        let before = method.clone();
        method.customer = None;
        let after = method.clone();
        self.emit_change("payment_method.detached", before, after);
        self.change_customer(customer, |customer| customer.default_payment_method = None);
        for subscription in self.running_subscriptions(customer) {
            self.change_subscription(&subscription, |subscription| subscription.default_payment_method = None);
        }
    }
}
