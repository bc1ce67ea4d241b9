//! Which call does what, and what calls do with customers and cards.

use serde_json::{Value, json};

use super::refused::{Answer, Refused};
use super::{Asked, form};
use crate::stripe::model::{Metadata, Price};
use crate::stripe::shape::{self, ApiVersion};
use crate::stripe::{BEGINNING, NewCard, Object, Stripe};

impl Stripe {
    /// Does what a call asks for, and gives what it answers with.
    pub(super) fn called(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let mut answer = self.done(asked, version)?;
        self.expand(asked, &mut answer, version)?;
        Ok(answer)
    }

    fn done(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let no_such_call = || Refused::no_such_call(&asked.call);
        let (method, path) = asked.call.split_once(" /v1/").ok_or_else(no_such_call)?;
        let parts: Vec<_> = path.split('/').collect();
        match (method, &parts[..]) {
            (_, ["customers", ..]) => self.customers_called(method, &parts[1..], asked, version),
            (_, ["payment_methods", ..]) => self.cards_called(method, &parts[1..], asked, version),
            (_, ["subscriptions", ..]) => self.subscriptions_called(method, &parts[1..], asked, version),
            (_, ["invoices" | "invoice_payments" | "payment_intents" | "charges" | "refunds" | "disputes", ..]) => {
                self.money_called(method, &parts, asked, version)
            }
            (_, ["checkout", "sessions", ..]) => self.sessions_called(method, &parts[2..], asked, version),
            ("POST", ["billing_portal", "sessions"]) => self.create_portal_session(asked),
            (_, ["prices" | "products" | "promotion_codes", ..]) => self.catalogue_called(method, &parts, asked),
            ("GET", ["events"]) => self.events_list(asked),
            ("GET", ["events", id]) => self.event(id),
            _ => Err(no_such_call()),
        }
    }

    pub(super) fn show(&self, object: Option<impl Into<Object>>, version: ApiVersion) -> Answer {
        let mut object = object.ok_or_else(|| Refused::no_such("object", "")).map(Into::into)?;
        self.name_prices(&mut object);
        Ok(shape::object(&object, version, self.livemode))
    }

    fn customers_called(&mut self, method: &str, path: &[&str], asked: &Asked, version: ApiVersion) -> Answer {
        let known = |id: &str| self.customers.get(id).cloned().ok_or_else(|| Refused::no_such("customer", id));
        match (method, path) {
            ("GET", []) => {
                let email = asked.value("email");
                let there = self.customers.values().filter(|customer| !customer.deleted);
                let theirs =
                    there.filter(|customer| email.is_none_or(|email| customer.email.as_deref() == Some(email)));
                self.list(asked, "/v1/customers", version, theirs.map(|customer| (customer, customer.created)))
            }
            ("POST", []) => {
                let metadata = form::map(&asked.form, "metadata");
                let id = self.sign_up_with(asked.value("email"), asked.value("name"), metadata);
                self.show(self.customers.get(&id).cloned(), version)
            }
            ("GET", [id]) if known(id)?.deleted => Ok(json!({ "id": id, "object": "customer", "deleted": true })),
            ("GET", [id]) => self.show(Some(known(id)?), version),
            ("DELETE", [id]) => {
                self.living_customer(id, None)?;
                self.delete_customer(id);
                Ok(json!({ "id": id, "object": "customer", "deleted": true }))
            }
            ("POST", [id]) => {
                self.living_customer(id, None)?;
                self.update_customer(id, asked)?;
                self.show(self.customers.get(*id).cloned(), version)
            }
            ("GET", [id, "payment_methods"]) => {
                known(id)?;
                let theirs = self.payment_methods.values().filter(|card| card.customer.as_deref() == Some(id));
                let url = format!("/v1/customers/{id}/payment_methods");
                self.list(asked, &url, version, theirs.map(|card| (card, card.created)))
            }
            _ => Err(Refused::no_such_call(&asked.call)),
        }
    }

    /// A customer who is still there: named by the path, or by a parameter.
    pub(super) fn living_customer(&self, id: &str, param: Option<&str>) -> Result<(), Refused> {
        match (self.customers.get(id).filter(|customer| !customer.deleted), param) {
            (Some(_), _) => Ok(()),
            (None, None) => Err(Refused::no_such("customer", id)),
            (None, Some(param)) => Err(Refused::no_such_value("customer", id, param)),
        }
    }

    fn update_customer(&mut self, id: &str, asked: &Asked) -> Result<(), Refused> {
        let card = asked.value("invoice_settings[default_payment_method]");
        if let Some(card) = card.filter(|card| !card.is_empty()) {
            self.card_of(id, card)?;
        }
        let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        self.change_customer(id, |customer| {
            if let Some(email) = asked.value("email") {
                customer.email = text(email);
            }
            if let Some(name) = asked.value("name") {
                customer.name = text(name);
            }
            if let Some(card) = card {
                customer.default_payment_method = text(card);
            }
            merge(&mut customer.metadata, asked);
        });
        Ok(())
    }

    /// A card that is this customer's.
    pub(super) fn card_of(&self, customer: &str, id: &str) -> Result<(), Refused> {
        let theirs = |id: &str| self.payment_methods.get(id)?.customer.clone();
        if theirs(id).as_deref() == Some(customer) {
            return Ok(());
        }
        Err(Refused::no_such_value("PaymentMethod", id, "payment_method"))
    }

    fn cards_called(&mut self, method: &str, path: &[&str], asked: &Asked, version: ApiVersion) -> Answer {
        let known = |id: &str| self.payment_methods.get(id).cloned();
        match (method, path) {
            ("GET", []) => {
                let customer = asked.value("customer");
                let theirs = self.payment_methods.values().filter(|card| card.customer.as_deref() == customer);
                self.list(asked, "/v1/payment_methods", version, theirs.map(|card| (card, card.created)))
            }
            ("GET", [id]) => self.show(Some(known(id).ok_or_else(|| Refused::no_such("PaymentMethod", id))?), version),
            ("POST", [id, "attach"]) => {
                let customer = asked.value("customer").unwrap_or_default();
                self.living_customer(customer, Some("customer"))?;
                // Stripe's own test cards have names: `pm_card_visa`.
                let card = match (known(id), test_card(id)) {
                    (Some(card), _) if card.customer.as_deref() == Some(customer) => card.id,
                    (Some(card), _) if self.attach_card_of_nobody(id, customer) => card.id,
                    (Some(_), _) => {
                        let message = "The payment method you provided is already attached to a customer.";
                        return Err(Refused::invalid(400, None, message));
                    }
                    (None, Some(card)) => {
                        self.card_will_do(&card, 0, true).map_err(Refused::unpaid)?;
                        self.attach_card(customer, card.brand, &card.last4)
                    }
                    (None, None) => return Err(Refused::no_such("PaymentMethod", id)),
                };
                self.show(self.payment_methods.get(&card).cloned(), version)
            }
            ("POST", [id, "detach"]) => {
                let card = known(id).ok_or_else(|| Refused::no_such("PaymentMethod", id))?;
                if card.customer.is_none() {
                    let message = "The payment method you provided is not attached to a customer.";
                    return Err(Refused::invalid(400, None, message));
                }
                self.detach(id);
                self.show(self.payment_methods.get(*id).cloned(), version)
            }
            _ => Err(Refused::no_such_call(&asked.call)),
        }
    }

    /// What is sold under this id.
    pub(super) fn price(&self, id: &str, param: &str) -> Result<&'static Price, Refused> {
        let found = self.prices.iter().find(|price| price.id == id);
        found.copied().ok_or_else(|| Refused::no_such_value("price", id, param))
    }
}

/// Metadata that is sent changes what it names; what is empty goes.
pub(super) fn merge(metadata: &mut Metadata, asked: &Asked) {
    if asked.value("metadata") == Some("") {
        metadata.clear();
    }
    for (name, value) in form::map(&asked.form, "metadata") {
        if value.is_empty() {
            metadata.remove(&name);
        } else {
            metadata.insert(name, value);
        }
    }
}

/// Stripe's test cards that have a name: <https://docs.stripe.com/testing?testing-method=payment-methods>.
fn test_card(id: &str) -> Option<NewCard> {
    NewCard::of_number(match id {
        "pm_card_visa" => "4242424242424242",
        "pm_card_mastercard" => "5555555555554444",
        "pm_card_amex" => "378282246310005",
        "pm_card_chargeCustomerFail" => "4000000000000341",
        "pm_card_visa_chargeDeclined" | "pm_card_chargeDeclined" => "4000000000000002",
        "pm_card_visa_chargeDeclinedInsufficientFunds" | "pm_card_chargeDeclinedInsufficientFunds" => {
            "4000000000009995"
        }
        "pm_card_authenticationRequired" => "4000002760003184",
        _ => return None,
    })
}

/// A product as it is sold.
pub(super) fn product(id: &str, name: &str) -> Value {
    json!({
        "id": id,
        "object": "product",
        "active": true,
        "attributes": [],
        "created": BEGINNING,
        "default_price": null,
        "description": null,
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "type": "service",
        "unit_label": null,
        "updated": BEGINNING,
        "url": null,
    })
}
