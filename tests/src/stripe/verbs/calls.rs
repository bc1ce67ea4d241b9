//! What happens when a merchant's own server asks for it: another plan with its price beforehand, a subscription, a
//! session at the till. What becomes of a payment is in the card's last digits, as with Stripe's test cards.

use crate::stripe::model::{CheckoutSession, IntentStatus, Invoice, Line, Metadata, Price};
use crate::stripe::{Billed, Stripe};

/// Why nothing was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpaid {
    /// The bank would not, for this reason.
    Declined(&'static str),
    /// The bank wants to hear from the customer first.
    NeedsAction,
    /// There is nothing to pay with.
    NoCard,
}

impl Stripe {
    /// What becomes of a payment of the customer's, by this method or else by its own.
    pub fn payment_of(&self, customer: &str, methods: &[Option<&String>]) -> Result<(), Unpaid> {
        let own = self.customers[customer].default_payment_method.as_ref();
        let method = methods.iter().copied().flatten().next().or(own).ok_or(Unpaid::NoCard)?;
        match &*self.payment_methods[method].last4 {
            "0002" => Err(Unpaid::Declined("generic_decline")),
            "9995" => Err(Unpaid::Declined("insufficient_funds")),
            "3184" => Err(Unpaid::NeedsAction),
            _ => Ok(()),
        }
    }

    /// The first item is of another price, prorated as of `at` and billed now. Nothing changes if that is not paid.
    pub fn change_price_by_call(
        &mut self,
        subscription: &str,
        price: &'static Price,
        quantity: i64,
        at: i64,
    ) -> Result<(), Unpaid> {
        let [due, _] = self.preview_of_change(subscription, price, quantity, at);
        let row = &self.subscriptions[subscription];
        if due.amount_due > 0 {
            self.payment_of(&row.customer, &[row.default_payment_method.as_ref()])?;
        }
        self.change_first_item(subscription, price, quantity, Billed::Now, at);
        Ok(())
    }

    /// The invoice of such a change, and the one at the next renewal.
    pub fn preview_of_change(&self, subscription: &str, price: &'static Price, quantity: i64, at: i64) -> [Invoice; 2] {
        let mut changed = self.clone();
        let before = changed.subscriptions[subscription].latest_invoice.clone();
        changed.change_first_item(subscription, price, quantity, Billed::Now, at);
        let row = &changed.subscriptions[subscription];
        let billed = row.latest_invoice.as_ref().filter(|_| row.latest_invoice != before);
        let items: Vec<_> = row.items.iter().filter(|item| !item.deleted).map(|item| changed.item_line(item)).collect();
        let nothing = || {
            let lines = items.iter().map(|line| Line { amount: 0, ..line.clone() }).collect();
            changed.draft(row, "subscription_update", lines)
        };
        let due = billed.map_or_else(nothing, |id| changed.invoices[id].clone());
        let renewal = changed.draft(row, "upcoming", items.clone());
        [due, renewal]
    }

    /// A subscription that a server makes. `is_paid_now`: it is made only if its first invoice can be paid; else it is
    /// `incomplete` until the customer has confirmed the payment.
    pub fn subscribe_by_call(
        &mut self,
        customer: &str,
        price: &'static Price,
        metadata: Metadata,
        method: Option<String>,
        is_paid_now: bool,
    ) -> Result<String, Unpaid> {
        if is_paid_now {
            self.payment_of(customer, &[method.as_ref()])?;
        }
        let id = self.subscribe(customer, &[price], 1, metadata, None);
        if let Some(method) = method {
            self.give_subscription_card(&id, &method);
        }
        if is_paid_now {
            self.first_payment_succeeds(&id);
        } else {
            let invoice = self.latest_invoice(&id);
            if let Some(intent) = self.invoices[&invoice].payment_intent.clone() {
                self.change_intent("payment_intent.requires_action", &intent, |intent| {
                    intent.status = IntentStatus::RequiresAction;
                });
            }
        }
        Ok(id)
    }

    /// A session at the till, open: nobody has paid yet.
    pub fn open_session(&mut self, session: CheckoutSession) -> String {
        let id = self.new_session_id();
        let session = CheckoutSession { id: id.clone(), status: "open", payment_status: "unpaid", ..session };
        self.sessions.insert(id.clone(), session);
        id
    }
}
