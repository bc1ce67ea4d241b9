//! What calls do at the till: sessions of Checkout and of the customer portal.

use serde_json::json;

use super::billing::price_of;
use super::{Answer, Asked, Refused, form};
use crate::stripe::Stripe;
use crate::stripe::model::{CheckoutSession, Mode};
use crate::stripe::shape::ApiVersion;

impl Stripe {
    pub(super) fn create_session(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let needed = |name: &str| {
            let message = format!("Missing required param: {name}");
            asked.value(name).ok_or_else(|| Refused::invalid(400, Some("parameter_missing"), &message))
        };
        needed("success_url")?;
        let mode = match needed("mode")? {
            "subscription" => Mode::Subscription,
            "payment" => Mode::Payment,
            _ => return Err(Refused::invalid(400, None, "Invalid mode")),
        };
        let price = price_of(needed("line_items[0][price]")?)?;
        needed("line_items[0][quantity]")?;
        let is_once = price.interval.seconds() == 0;
        if is_once != (mode == Mode::Payment) {
            return Err(Refused::invalid(400, None, "The price is of another kind than the mode"));
        }
        let customer = asked.value("customer").unwrap_or_default();
        if !customer.is_empty() && self.customers.get(customer).is_none_or(|customer| customer.deleted) {
            return Err(Refused::missing());
        }
        let has_trial = asked.value("subscription_data[trial_period_days]").is_some();
        let id = self.open_session(CheckoutSession {
            id: String::new(),
            mode,
            status: "open",
            payment_status: "unpaid",
            customer: customer.to_owned(),
            prices: vec![price],
            subscription: None,
            invoice: None,
            payment_intent: None,
            client_reference_id: asked.value("client_reference_id").map(str::to_owned),
            metadata: form::map(&asked.form, "metadata"),
            amount_total: if has_trial { 0 } else { price.unit_amount },
            currency: price.currency.to_owned(),
            created: self.now,
            email: asked.value("customer_email").map(str::to_owned),
            name: None,
        });
        self.show(self.sessions.get(&id).cloned(), version)
    }

    pub(super) fn create_portal_session(&self, asked: &Asked) -> Answer {
        let customer = asked.value("customer").unwrap_or_default();
        self.customers.get(customer).filter(|customer| !customer.deleted).ok_or_else(Refused::missing)?;
        Ok(json!({
            "id": "bps_1",
            "object": "billing_portal.session",
            "created": self.now,
            "customer": customer,
            "livemode": self.livemode,
            "return_url": asked.value("return_url"),
            "url": format!("https://billing.stripe.com/p/session/{customer}"),
        }))
    }
}
