//! Cards: attached, made the default, renewed by the bank, detached.

use crate::stripe::Stripe;
use crate::stripe::model::PaymentMethod;

/// A card that somebody types in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCard {
    /// For example `visa`.
    pub brand: &'static str,
    /// The number's end: with Stripe's test cards it says what becomes of payments.
    pub last4: String,
}

impl NewCard {
    /// The card of a number, with or without spaces; `None` for what is no number of a card.
    pub fn of_number(number: &str) -> Option<Self> {
        let digits: Vec<u32> = number
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .map(|letter| letter.to_digit(10))
            .collect::<Option<_>>()?;
        // ISO/IEC 7812-1: from the end, every second digit counts twice.
        let counts = digits.iter().rev().enumerate().map(|(place, digit)| {
            let counted = digit * (1 + place as u32 % 2);
            counted / 10 + counted % 10
        });
        if !(12..=19).contains(&digits.len()) || counts.sum::<u32>() % 10 != 0 {
            return None;
        }
        let brand = match digits[0] {
            3 => "amex",
            5 => "mastercard",
            6 => "discover",
            _ => "visa",
        };
        let last4 = digits[digits.len() - 4..].iter().map(u32::to_string).collect();
        Some(Self { brand, last4 })
    }
}

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

    /// A card that somebody has typed in and that is nobody's yet: its page tells the server what it is called.
    pub fn card_of_nobody(&mut self, brand: &'static str, last4: &str) -> String {
        let id = self.ids.long("pm");
        let (last4, created) = (last4.to_owned(), self.now);
        let card = PaymentMethod { id: id.clone(), customer: None, brand, last4, created, exp_year: 2030 };
        self.payment_methods.insert(id.clone(), card);
        self.cards_of_nobody.insert(id.clone());
        id
    }

    /// Makes such a card a customer's; false of any other. One that was detached is nobody's for good.
    pub(in crate::stripe) fn attach_card_of_nobody(&mut self, id: &str, customer: &str) -> bool {
        let Some(card) = self.payment_methods.get_mut(id).filter(|_| self.cards_of_nobody.remove(id)) else {
            return false;
        };
        card.customer = Some(customer.to_owned());
        let card = card.clone();
        self.emit("payment_method.attached", card);
        true
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
        if let Some(card) = self.customers[customer].default_payment_method.clone() {
            self.detach(&card);
        }
    }

    /// Takes a card away from its customer, everywhere.
    pub fn detach(&mut self, card: &str) {
        let method = self.payment_methods.get_mut(card).expect("only a card that is there is detached");
        let before = method.clone();
        method.customer = None;
        let after = method.clone();
        let customer = before.customer.clone().expect("only what is somebody's is detached");
        self.emit_change("payment_method.detached", before, after);
        let is_it = |own: &Option<String>| own.as_deref() == Some(card);
        self.change_customer(&customer, |customer| {
            customer.default_payment_method.take_if(|own| own == card);
        });
        for subscription in self.running_subscriptions(&customer) {
            if is_it(&self.subscriptions[&subscription].default_payment_method) {
                self.change_subscription(&subscription, |subscription| subscription.default_payment_method = None);
            }
        }
    }
}
