//! What happens when a merchant's own server asks for it: another plan with its price beforehand, a subscription, a
//! session at the till. What becomes of a payment is in the card's last digits, as with Stripe's test cards.

use super::NewSubscription;
use crate::stripe::Stripe;
use crate::stripe::model::{IntentStatus, InvoiceStatus, Status};

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

impl Unpaid {
    /// Stripe's code and decline code: <https://docs.stripe.com/error-codes>.
    pub fn codes(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Declined(reason @ ("expired_card" | "incorrect_cvc" | "processing_error")) => (reason, None),
            Self::Declined(reason) => ("card_declined", Some(reason)),
            Self::NeedsAction => ("authentication_required", Some("authentication_required")),
            Self::NoCard => ("resource_missing", None),
        }
    }
}

/// What a subscription's first payment is to it: `payment_behavior`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPayment {
    /// Without it there is no subscription.
    OrNothing,
    /// It is tried; without it the subscription is incomplete.
    Tried,
    /// The subscription is incomplete until the customer has confirmed it.
    Confirmed,
}

/// What a card's bank says to a payment: <https://docs.stripe.com/testing>.
pub(super) fn bank_says(last4: &str) -> Result<(), Unpaid> {
    match last4 {
        // 0341 can be kept for later, and then pays nothing.
        "0002" | "0341" => Err(Unpaid::Declined("generic_decline")),
        "9995" => Err(Unpaid::Declined("insufficient_funds")),
        "9987" => Err(Unpaid::Declined("lost_card")),
        "9979" => Err(Unpaid::Declined("stolen_card")),
        "0069" => Err(Unpaid::Declined("expired_card")),
        "0127" => Err(Unpaid::Declined("incorrect_cvc")),
        "0119" => Err(Unpaid::Declined("processing_error")),
        "3184" | "3155" | "3220" => Err(Unpaid::NeedsAction),
        _ => Ok(()),
    }
}

impl Stripe {
    /// What becomes of a payment of the customer's, by this method or else by its own.
    pub fn payment_of(&self, customer: &str, methods: &[Option<&String>]) -> Result<(), Unpaid> {
        let own = self.customers[customer].default_payment_method.as_ref();
        let method = methods.iter().copied().flatten().next().or(own).ok_or(Unpaid::NoCard)?;
        bank_says(&self.payment_methods[method].last4)
    }

    /// A subscription that a server makes, paid with this method or else the customer's own.
    pub fn subscribe_by_call(
        &mut self,
        new: NewSubscription,
        method: Option<String>,
        first: FirstPayment,
    ) -> Result<String, Unpaid> {
        let is_free =
            new.trial_end.is_some() || new.anchor.is_some() || new.prices.iter().all(|price| price.unit_amount == 0);
        let payment = if is_free { Ok(()) } else { self.payment_of(new.customer, &[method.as_ref()]) };
        if first == FirstPayment::OrNothing {
            payment?;
        }
        let id = self.subscribe_with(new);
        if let Some(method) = method {
            self.give_subscription_card(&id, &method);
        }
        let invoice = self.latest_invoice(&id);
        match (first, payment) {
            _ if self.invoices[&invoice].status != InvoiceStatus::Open => {}
            (FirstPayment::Confirmed, _) | (_, Err(Unpaid::NeedsAction)) => {
                if let Some(intent) = self.invoices[&invoice].payment_intent.clone() {
                    self.change_intent("payment_intent.requires_action", &intent, |intent| {
                        intent.status = IntentStatus::RequiresAction;
                    });
                }
            }
            (_, Ok(())) => self.first_payment_succeeds(&id),
            (_, Err(_)) => self.payment_fails(&invoice, None),
        }
        if self.subscriptions[&id].status == Status::Incomplete && !self.owes(&id) {
            self.change_subscription(&id, |subscription| subscription.status = Status::Active);
        }
        Ok(id)
    }
}
