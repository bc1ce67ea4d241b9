//! `expand[]`: the object itself, where an answer has its id: <https://docs.stripe.com/api/expanding_objects>.

use serde_json::{Value, json};

use super::refused::Refused;
use super::{Asked, form};
use crate::stripe::shape::{self, ApiVersion};
use crate::stripe::{Object, Stripe};

impl Stripe {
    /// Puts objects into `answer` where the call asks for them.
    pub(super) fn expand(&self, asked: &Asked, answer: &mut Value, version: ApiVersion) -> Result<(), Refused> {
        for path in form::list(&asked.form, "expand") {
            let parts: Vec<_> = path.split('.').collect();
            self.expand_at(answer, &parts, version).map_err(|NotExpandable| {
                let message = format!("This property cannot be expanded ({path}).");
                Refused::invalid(400, None, &message).about("expand")
            })?;
        }
        Ok(())
    }

    fn expand_at(&self, at: &mut Value, path: &[&str], version: ApiVersion) -> Result<(), NotExpandable> {
        let [first, rest @ ..] = path else { return Ok(()) };
        if let Value::Array(elements) = at {
            return elements.iter_mut().try_for_each(|element| self.expand_at(element, path, version));
        }
        self.bring(at, first, version);
        let inner = at.get_mut(*first).ok_or(NotExpandable)?;
        if let Value::String(id) = inner {
            *inner = self.object_of(id, version).ok_or(NotExpandable)?;
        }
        match inner {
            Value::Null => Ok(()),
            Value::Object(_) | Value::Array(_) => self.expand_at(inner, rest, version),
            _ => Err(NotExpandable),
        }
    }

    /// Members that are there only if they are asked for.
    fn bring(&self, object: &mut Value, name: &str, version: ApiVersion) {
        let id = object["id"].as_str().unwrap_or_default();
        let Some(invoice) = self.invoices.get(id) else {
            if let ("line_items", Some(session)) = (name, self.sessions.get(id)) {
                object["line_items"] = shape::session_items(session);
            }
            return;
        };
        match name {
            "payments" => {
                let theirs = self.invoice_payments.values().filter(|payment| payment.invoice == invoice.id);
                let data: Vec<_> =
                    theirs.map(|payment| shape::object(&payment.clone().into(), version, self.livemode)).collect();
                object["payments"] = json!({
                    "object": "list",
                    "url": format!("/v1/invoice_payments?invoice={}", invoice.id),
                    "has_more": false,
                    "data": data,
                });
            }
            "confirmation_secret" => {
                object["confirmation_secret"] = json!(invoice.payment_intent.as_ref().map(|intent| {
                    json!({ "type": "payment_intent", "client_secret": format!("{intent}_secret_1") })
                }));
            }
            _ => {}
        }
    }

    /// Any object by its id.
    fn object_of(&self, id: &str, version: ApiVersion) -> Option<Value> {
        fn found<T: Clone + Into<Object>>(object: Option<&T>) -> Option<Object> {
            object.cloned().map(Into::into)
        }
        let (prefix, _) = id.split_once('_')?;
        let object = match prefix {
            "cus" => found(self.customers.get(id)),
            "sub" => found(self.subscriptions.get(id)),
            "in" => found(self.invoices.get(id)),
            "pm" | "card" => found(self.payment_methods.get(id)),
            "pi" => found(self.payment_intents.get(id)),
            "cs" => found(self.sessions.get(id)),
            "ch" => found(self.charges.get(id)),
            "re" => found(self.refunds.get(id)),
            "price" => return self.prices.iter().find(|price| price.id == id).map(|price| self.show_price(price)),
            "prod" => return self.show_product(id).ok(),
            _ => None,
        };
        self.show(Some(object?), version).ok()
    }
}

/// There is no such member, or it is no object.
struct NotExpandable;
