//! What calls do at the till: what is sold, sessions of Checkout and of the customer portal.

use std::ops::RangeInclusive;

use serde_json::json;

use super::billing::product;
use super::lists::{Listed, page};
use super::refused::{Answer, Refused};
use super::{Asked, form, number};
use crate::stripe::catalogue::kept;
use crate::stripe::model::{CheckoutSession, Coupon, Interval, Mode, Opening, Price};
use crate::stripe::shape::{self, ApiVersion};
use crate::stripe::{BEGINNING, DAY, Stripe};

/// How long a session can be open: <https://docs.stripe.com/api/checkout/sessions/create>.
const OPEN_SECONDS: RangeInclusive<i64> = 30 * 60..=DAY;

impl Stripe {
    pub(super) fn sessions_called(
        &mut self,
        method: &str,
        path: &[&str],
        asked: &Asked,
        version: ApiVersion,
    ) -> Answer {
        let known = |id: &str| self.sessions.get(id).ok_or_else(|| Refused::no_such("checkout.session", id));
        match (method, path) {
            ("POST", []) => self.create_session(asked, version),
            ("GET", []) => {
                let is_of = |name: &str, own: Option<&str>| asked.value(name).is_none_or(|wanted| own == Some(wanted));
                let theirs = self.sessions.values().filter(|session| {
                    is_of("customer", Some(&session.customer))
                        && is_of("subscription", session.subscription.as_deref())
                        && is_of("payment_intent", session.payment_intent.as_deref())
                        && is_of("status", Some(session.status))
                });
                self.list(asked, "/v1/checkout/sessions", version, theirs.map(|session| (session, session.created)))
            }
            ("GET", [id]) => self.show(Some(known(id)?.clone()), version),
            ("GET", [id, "line_items"]) => known(id).map(shape::session_items),
            ("POST", [id, "expire"]) => {
                if known(id)?.status != "open" {
                    let message = "Only Checkout Sessions with a status in [\"open\"] can be expired.";
                    return Err(Refused::invalid(400, None, message));
                }
                self.expire_session(id);
                self.show(self.sessions.get(*id).cloned(), version)
            }
            _ => Err(Refused::no_such_call(&asked.call)),
        }
    }

    fn create_session(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let needed = |name: &str| asked.value(name).ok_or_else(|| Refused::needs(name));
        needed("success_url")?;
        let mode = match needed("mode")? {
            "subscription" => Mode::Subscription,
            "payment" => Mode::Payment,
            _ => return Err(Refused::invalid(400, None, "This Stripe has no such mode").about("mode")),
        };
        let price = self.price(needed("line_items[0][price]")?, "line_items[0][price]")?;
        let quantity =
            number(asked, "line_items[0][quantity]").ok_or_else(|| Refused::needs("line_items[0][quantity]"))?;
        let is_once = price.interval == Interval::Once;
        if is_once != (mode == Mode::Payment) {
            let message =
                "You must provide at least one recurring price in `subscription` mode, and none in `payment` mode.";
            return Err(Refused::invalid(400, None, message).about("line_items"));
        }
        let customer = asked.value("customer").unwrap_or_default();
        if !customer.is_empty() {
            self.living_customer(customer, Some("customer"))?;
        }
        let opened = self.opening(asked, quantity)?;
        let mut session = CheckoutSession {
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
            amount_total: 0,
            currency: price.currency.to_owned(),
            created: self.now,
            email: asked.value("customer_email").map(str::to_owned),
            name: None,
            opened,
        };
        session.amount_total = session.due();
        let id = self.open_session(session);
        self.show(self.sessions.get(&id).cloned(), version)
    }

    fn opening(&self, asked: &Asked, quantity: i64) -> Result<Opening, Refused> {
        let days = number(asked, "subscription_data[trial_period_days]").map(|days| self.now + days * DAY);
        let expires_at = number(asked, "expires_at");
        if expires_at.is_some_and(|at| !OPEN_SECONDS.contains(&(at - self.now))) {
            let message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.";
            return Err(Refused::invalid(400, None, message).about("expires_at"));
        }
        let coupon = self.asked_coupon(asked)?;
        let allows_promotion_codes = asked.value("allow_promotion_codes") == Some("true");
        if coupon.is_some() && allows_promotion_codes {
            let message = "You may only specify one of these parameters: allow_promotion_codes, discounts.";
            return Err(Refused::invalid(400, None, message));
        }
        Ok(Opening {
            url: None,
            success_url: asked.value("success_url").unwrap_or_default().to_owned(),
            cancel_url: asked.value("cancel_url").map(str::to_owned),
            expires_at,
            quantity,
            trial_end: number(asked, "subscription_data[trial_end]").or(days),
            subscription_metadata: form::map(&asked.form, "subscription_data[metadata]"),
            allows_promotion_codes,
            coupon,
            makes_customer: asked.value("customer_creation") == Some("always"),
            makes_invoice: asked.value("invoice_creation[enabled]") == Some("true"),
            always_wants_card: asked.value("payment_method_collection") != Some("if_required"),
        })
    }

    /// What is to be taken off, by its own id or by that of a code.
    pub(super) fn asked_coupon(&self, asked: &Asked) -> Result<Option<&'static Coupon>, Refused> {
        for kind in ["coupon", "promotion_code"] {
            let param = format!("discounts[0][{kind}]");
            let Some(id) = asked.value(&param) else { continue };
            let is_it =
                |coupon: &&&'static Coupon| if kind == "coupon" { coupon.id == id } else { coupon.promotion == id };
            let found = self.coupons.iter().find(is_it).copied();
            return found.map(Some).ok_or_else(|| Refused::no_such_value(kind, id, &param));
        }
        Ok(None)
    }

    pub(super) fn create_portal_session(&mut self, asked: &Asked) -> Answer {
        let customer = asked.value("customer").ok_or_else(|| Refused::needs("customer"))?;
        self.living_customer(customer, Some("customer"))?;
        let session = self.open_portal(customer, asked.value("return_url"));
        Ok(json!({
            "id": session.id,
            "object": "billing_portal.session",
            "configuration": "bpc_1",
            "created": session.created,
            "customer": customer,
            "flow": null,
            "livemode": self.livemode,
            "locale": null,
            "on_behalf_of": null,
            "return_url": session.return_url,
            "url": session.url,
        }))
    }

    pub(super) fn catalogue_called(&mut self, method: &str, path: &[&str], asked: &Asked) -> Answer {
        match (method, path) {
            ("GET", ["prices"]) => self.prices_list(asked),
            ("GET", ["prices", id]) => {
                let found = self.prices.iter().find(|price| price.id == *id);
                Ok(self.show_price(found.ok_or_else(|| Refused::no_such("price", id))?))
            }
            ("POST", ["prices"]) => self.create_price(asked),
            ("GET", ["products"]) => {
                let rows = self.products.iter();
                let rows = rows.map(|what| Listed { id: what.0.clone(), created: BEGINNING, what });
                page(asked, "/v1/products", rows, |(id, name)| Ok(product(id, name)))
            }
            ("GET", ["products", id]) => self.show_product(id),
            ("POST", ["products"]) => {
                let id = asked.value("id").map_or_else(|| self.ids.short("prod", 14), str::to_owned);
                self.products.insert(id.clone(), asked.value("name").unwrap_or_default().to_owned());
                self.show_product(&id)
            }
            ("GET", ["promotion_codes"]) => {
                let wanted = asked.value("code");
                let all = self.coupons.iter().filter(|coupon| wanted.is_none_or(|code| coupon.code == code));
                let rows = all.map(|what| Listed { id: what.promotion.to_owned(), created: BEGINNING, what });
                page(asked, "/v1/promotion_codes", rows, |coupon| Ok(shape::promotion_code(coupon)))
            }
            _ => Err(Refused::no_such_call(&asked.call)),
        }
    }

    pub(super) fn show_product(&self, id: &str) -> Answer {
        let name = self.products.get(id).ok_or_else(|| Refused::no_such("product", id))?;
        Ok(product(id, name))
    }

    fn create_price(&mut self, asked: &Asked) -> Answer {
        let product = match (asked.value("product"), asked.value("product_data[name]")) {
            (Some(id), _) => {
                self.products.get(id).ok_or_else(|| Refused::no_such_value("product", id, "product"))?;
                id.to_owned()
            }
            (None, Some(name)) => {
                let id = self.ids.short("prod", 14);
                self.products.insert(id.clone(), name.to_owned());
                id
            }
            (None, None) => return Err(Refused::needs("product")),
        };
        let key = asked.value("lookup_key");
        let taken = self.prices.iter().find(|price| key.is_some() && self.lookup_key_of(price) == key);
        if taken.is_some() {
            let message = "A price already uses that lookup key.";
            return Err(Refused::invalid(400, None, message).about("lookup_key"));
        }
        let price = self.add_price(Price {
            id: kept(&self.ids.long("price")),
            product: kept(&product),
            lookup_key: key.map(kept),
            currency: kept(asked.value("currency").unwrap_or_default()),
            unit_amount: number(asked, "unit_amount").ok_or_else(|| Refused::needs("unit_amount"))?,
            interval: match (asked.value("recurring[interval]"), asked.value("recurring[interval_count]")) {
                (Some("week"), Some("2")) => Interval::TwoWeeks,
                (Some("month"), _) => Interval::CalendarMonth,
                (named, _) => named.and_then(Interval::named).unwrap_or(Interval::Once),
            },
            trial_days: number(asked, "recurring[trial_period_days]"),
        });
        Ok(self.show_price(price))
    }
}
