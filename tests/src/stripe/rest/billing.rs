//! What calls do with customers, prices, subscriptions and invoices.

use serde_json::{Value, json};

use super::{Answer, Asked, Refused, form};
use crate::stripe::catalogue;
use crate::stripe::model::Price;
use crate::stripe::shape::{self, ApiVersion};
use crate::stripe::verbs::Unpaid;
use crate::stripe::{Object, Stripe};

impl Stripe {
    /// Does what a call asks for, and gives the object that it answers with.
    pub(super) fn called(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let (method, path) = asked.call.split_once(' ').ok_or_else(Refused::missing)?;
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match (method, &parts[..]) {
            ("GET", ["v1", "checkout", "sessions", id, "line_items"]) => {
                self.sessions.get(*id).map(shape::session_items).ok_or_else(Refused::missing)
            }
            ("GET", ["v1", "checkout", "sessions", id]) => self.show(self.sessions.get(*id).cloned(), version),
            ("POST", ["v1", "checkout", "sessions"]) => self.create_session(asked, version),
            ("POST", ["v1", "billing_portal", "sessions"]) => self.create_portal_session(asked),
            ("GET", ["v1", "prices"]) => Ok(self.prices(asked)),
            ("GET", ["v1", "prices", id]) => Ok(shape::price(price_of(id)?, self.lookup_key_of(price_of(id)?))),
            ("GET", ["v1", "customers", id]) => self.show(self.customers.get(*id).cloned(), version),
            ("POST", ["v1", "customers"]) => {
                let metadata = form::map(&asked.form, "metadata");
                let (email, name) = (asked.value("email"), asked.value("name"));
                let user = metadata.get("user_id").map(String::as_str);
                let id = self.sign_up_by_call(email, name, user);
                self.show(self.customers.get(&id).cloned(), version)
            }
            ("POST", ["v1", "payment_methods", id, "attach"]) => {
                let customer = asked.value("customer").unwrap_or_default();
                let method = self.payment_methods.get(*id).ok_or_else(Refused::missing)?;
                if method.customer.as_deref() != Some(customer) {
                    return Err(Refused::invalid(400, None, "The payment method is another customer's"));
                }
                self.show(Some(method.clone()), version)
            }
            ("POST", ["v1", "invoices", "create_preview"]) => self.preview(asked, version),
            ("GET", ["v1", "subscriptions"]) => Ok(self.subscriptions_of(asked, version)),
            ("POST", ["v1", "subscriptions"]) => self.create_subscription(asked, version),
            ("GET", ["v1", "subscriptions", id]) => self.show_subscription(id, version),
            ("POST", ["v1", "subscriptions", id]) => {
                self.update_subscription(id, asked)?;
                self.show_subscription(id, version)
            }
            ("DELETE", ["v1", "subscriptions", id]) => {
                self.running(id)?;
                self.cancel(id);
                self.show_subscription(id, version)
            }
            _ => Err(Refused::invalid(404, None, "Unrecognized request URL")),
        }
    }

    pub(super) fn show(&self, object: Option<impl Into<Object>>, version: ApiVersion) -> Answer {
        let mut object = object.ok_or_else(Refused::missing)?.into();
        self.name_prices(&mut object);
        Ok(shape::object(&object, version, self.livemode))
    }

    fn show_subscription(&self, id: &str, version: ApiVersion) -> Answer {
        self.show(self.subscriptions.get(id).cloned(), version)
    }

    fn prices(&self, asked: &Asked) -> Value {
        let found = on_sale().filter(|price| {
            let key = asked.value("lookup_keys[0]").or_else(|| asked.value("lookup_keys[]"));
            key.is_none_or(|key| self.lookup_key_of(price) == Some(key))
                && asked.value("product").is_none_or(|product| price.product == product)
        });
        let data: Vec<_> = found.map(|price| shape::price(price, self.lookup_key_of(price))).collect();
        json!({ "object": "list", "has_more": false, "url": "/v1/prices", "data": data })
    }

    /// A subscription that has not ended: nothing else can be changed.
    fn running(&self, id: &str) -> Result<(), Refused> {
        let subscription = self.subscriptions.get(id).ok_or_else(Refused::missing)?;
        if subscription.status.is_final() {
            // Stripe knows a subscription that has ended no longer, but for reading.
            return Err(Refused::missing());
        }
        Ok(())
    }

    fn subscriptions_of(&self, asked: &Asked, version: ApiVersion) -> Value {
        let theirs = self.subscriptions.values().filter(|subscription| {
            asked.value("customer").is_none_or(|customer| subscription.customer == customer)
                && (asked.value("status") == Some("all") || !subscription.status.is_final())
        });
        let data: Vec<_> = theirs.filter_map(|row| self.show(Some(row.clone()), version).ok()).collect();
        json!({ "object": "list", "has_more": false, "url": "/v1/subscriptions", "data": data })
    }

    fn update_subscription(&mut self, id: &str, asked: &Asked) -> Result<(), Refused> {
        self.running(id)?;
        match (asked.value("cancel_at_period_end"), asked.value("cancel_at")) {
            (Some("true"), _) => self.schedule_cancel(id),
            (Some("false"), _) | (None, Some("")) => self.undo_cancel(id),
            _ => {}
        }
        if let Some(change) = self.asked_change(id, asked, "")? {
            let (price, quantity, at) = change;
            self.change_price_by_call(id, price, quantity, at).map_err(refused)?;
        }
        Ok(())
    }

    /// The price, quantity and moment that a change of the first item is asked for, under `prefix`.
    fn asked_change(
        &self,
        id: &str,
        asked: &Asked,
        prefix: &str,
    ) -> Result<Option<(&'static Price, i64, i64)>, Refused> {
        let name = |name: &str| {
            let (first, rest) = name.split_at(name.find('[').unwrap_or(name.len()));
            if prefix.is_empty() { name.to_owned() } else { format!("{prefix}[{first}]{rest}") }
        };
        let value = |wanted: &str| asked.value(&name(wanted));
        let Some(price) = value("items[0][price]") else { return Ok(None) };
        let price = price_of(price)?;
        let item = self.subscriptions.get(id).and_then(|row| row.items.first()).ok_or_else(Refused::missing)?;
        if value("items[0][id]") != Some(&item.id) {
            return Err(Refused::invalid(400, None, "Another item would be added"));
        }
        let number = |wanted: &str| value(wanted).and_then(|value| value.parse().ok());
        let at = number("proration_date").unwrap_or(self.now);
        if at < item.period.start || at > item.period.end {
            return Err(Refused::invalid(400, None, "The proration date is outside of the period"));
        }
        Ok(Some((price, number("items[0][quantity]").unwrap_or(item.quantity), at)))
    }

    fn preview(&self, asked: &Asked, version: ApiVersion) -> Answer {
        let id = asked.value("subscription").ok_or_else(Refused::missing)?;
        self.running(id)?;
        let (price, quantity, at) =
            self.asked_change(id, asked, "subscription_details")?.ok_or_else(Refused::missing)?;
        let [due, renewal] = self.preview_of_change(id, price, quantity, at);
        self.show(Some(if asked.value("preview_mode") == Some("recurring") { renewal } else { due }), version)
    }

    fn create_subscription(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let customer = asked.value("customer").filter(|id| self.customers.contains_key(*id));
        let customer = customer.ok_or_else(Refused::missing)?;
        let price = price_of(asked.value("items[0][price]").unwrap_or_default())?;
        let metadata = form::map(&asked.form, "metadata");
        let method = asked.value("default_payment_method").map(str::to_owned);
        let is_paid_now = asked.value("payment_behavior") == Some("error_if_incomplete");
        let id = self.subscribe_by_call(customer, price, metadata, method, is_paid_now).map_err(refused)?;
        let mut json = self.show_subscription(&id, version)?;
        if asked.form.iter().any(|(_, value)| value == "latest_invoice.confirmation_secret") {
            let invoice = self.invoices[&self.latest_invoice(&id)].clone();
            let intent = invoice.payment_intent.clone();
            json["latest_invoice"] = self.show(Some(invoice), version)?;
            json["latest_invoice"]["confirmation_secret"] = json!(
                intent.map(|intent| json!({ "type": "payment_intent", "client_secret": format!("{intent}_secret_1") }))
            );
        }
        Ok(json)
    }
}

/// What can be bought by a call.
fn on_sale() -> impl Iterator<Item = &'static Price> {
    catalogue::ON_SALE.into_iter().chain([&catalogue::TEAM_MONTHLY_RAISED, &catalogue::PRO_FOR_GOOD])
}

/// A price of the catalogue.
pub(super) fn price_of(id: &str) -> Result<&'static Price, Refused> {
    on_sale().find(|price| price.id == id).ok_or_else(Refused::missing)
}

/// A payment that did not come, as Stripe says it.
fn refused(why: Unpaid) -> Refused {
    let card = |code: &str, decline: Option<&str>| {
        Refused(
            402,
            json!({ "type": "card_error", "code": code, "decline_code": decline, "message": "Your card was declined." }),
        )
    };
    match why {
        Unpaid::Declined(reason) => card("card_declined", Some(reason)),
        Unpaid::NeedsAction => card("subscription_payment_intent_requires_action", None),
        Unpaid::NoCard => {
            Refused::invalid(400, Some("resource_missing"), "This customer has no default payment method")
        }
    }
}
