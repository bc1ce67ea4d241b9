//! What calls do with subscriptions.

use super::billing::merge;
use super::form::{self, Sent};
use super::lists::{Listed, page};
use super::refused::{Answer, Refused};
use super::{Asked, number};
use crate::stripe::model::{Item, Price, Status};
use crate::stripe::shape::ApiVersion;
use crate::stripe::verbs::{FirstPayment, ItemChange, NewSubscription, Prorated};
use crate::stripe::{DAY, Stripe};

/// What a change that may have to wait takes: <https://docs.stripe.com/billing/subscriptions/pending-updates>.
const PENDING_TAKES: [&str; 11] = [
    "expand",
    "payment_behavior",
    "proration_behavior",
    "proration_date",
    "billing_cycle_anchor",
    "items",
    "trial_end",
    "trial_from_plan",
    "add_invoice_items",
    "metadata",
    "cancel_at_period_end",
];

impl Stripe {
    pub(super) fn subscriptions_called(
        &mut self,
        method: &str,
        path: &[&str],
        asked: &Asked,
        version: ApiVersion,
    ) -> Answer {
        let id = match (method, path) {
            ("GET", []) => return self.subscriptions_list(asked, version),
            ("POST", []) => self.create_subscription(asked)?,
            ("GET", [id]) => (*id).to_owned(),
            ("POST", [id]) => {
                self.update_subscription(id, asked)?;
                (*id).to_owned()
            }
            ("POST", [id, act @ ("pause" | "resume")]) => {
                self.running(id)?;
                match (*act, self.subscriptions[*id].status) {
                    ("pause", Status::Active | Status::PastDue | Status::Trialing) => self.pause(id),
                    ("resume", Status::Paused) => self.resume(id),
                    (_, status) => {
                        let message = format!("A subscription that is {} cannot be {act}d.", status.text());
                        return Err(Refused::invalid(400, None, &message));
                    }
                }
                (*id).to_owned()
            }
            ("DELETE", [id]) => {
                self.running(id)?;
                self.cancel(id);
                (*id).to_owned()
            }
            _ => return Err(Refused::no_such_call(&asked.call)),
        };
        let found = self.subscriptions.get(&id).ok_or_else(|| Refused::no_such("subscription", &id))?;
        self.show(Some(found.clone()), version)
    }

    /// A subscription that has not ended: nothing else can be changed.
    pub(super) fn running(&self, id: &str) -> Result<(), Refused> {
        match self.subscriptions.get(id) {
            Some(subscription) if !subscription.status.is_final() => Ok(()),
            // Stripe knows a subscription that has ended no longer, but for reading.
            _ => Err(Refused::no_such("subscription", id)),
        }
    }

    fn subscriptions_list(&self, asked: &Asked, version: ApiVersion) -> Answer {
        let status = asked.value("status");
        let theirs = self.subscriptions.values().filter(|subscription| {
            asked.value("customer").is_none_or(|customer| subscription.customer == customer)
                && asked.value("price").is_none_or(|price| subscription.items.iter().any(|item| item.price.id == price))
                && match status {
                    None => subscription.status != Status::Canceled,
                    Some("all") => true,
                    Some("ended") => subscription.status.is_final(),
                    Some(status) => subscription.status.text() == status,
                }
        });
        let rows = theirs.map(|what| Listed { id: what.id.clone(), created: what.created, what });
        page(asked, "/v1/subscriptions", rows, |subscription| self.show(Some(subscription.clone()), version))
    }

    fn update_subscription(&mut self, id: &str, asked: &Asked) -> Result<(), Refused> {
        self.running(id)?;
        let changes = self.asked_changes(id, asked, "")?;
        let (prorated, at) = self.asked_proration(id, asked, "")?;
        let waits = asked.value("payment_behavior") == Some("pending_if_incomplete");
        if waits {
            let is_taken = |name: &str| PENDING_TAKES.contains(&name.split('[').next().unwrap_or_default());
            if let Some((name, _)) = asked.form.iter().find(|(name, _)| !is_taken(name)) {
                let message = format!("`{name}` is not supported with `payment_behavior=pending_if_incomplete`.");
                return Err(Refused::invalid(400, None, &message).about(name));
            }
            self.change_items_when_paid(id, &changes, prorated, at);
        } else if !changes.is_empty() {
            let or_nothing = asked.value("payment_behavior") == Some("error_if_incomplete");
            self.change_items_by_call(id, &changes, prorated, at, or_nothing).map_err(Refused::unpaid)?;
        }
        let period = self.subscriptions[id].items[0].period;
        match (asked.value("cancel_at_period_end"), asked.value("cancel_at")) {
            (Some("true"), _) => self.schedule_cancel(id),
            (Some("false"), _) | (None, Some("")) => self.undo_cancel(id),
            (None, Some("min_period_end" | "max_period_end")) => self.cancel_at(id, period.end),
            (None, Some(_)) => self.cancel_at(id, number(asked, "cancel_at").unwrap_or(period.end)),
            _ => {}
        }
        match asked.value("trial_end") {
            Some("now") if self.subscriptions[id].status == Status::Trialing => self.end_trial_now(id),
            Some(_) => self.extend_trial(id, number(asked, "trial_end").unwrap_or(self.now)),
            None => {}
        }
        match asked.value("pause_collection") {
            Some("") => self.resume_collection(id),
            _ if asked.value("pause_collection[behavior]").is_some() => self.pause_collection(id),
            _ => {}
        }
        let card = asked.value("default_payment_method");
        if let Some(card) = card.filter(|card| !card.is_empty()) {
            self.card_of(&self.subscriptions[id].customer, card)?;
        }
        self.change_subscription(id, |subscription| {
            if let Some(card) = card {
                subscription.default_payment_method = Some(card.to_owned()).filter(|card| !card.is_empty());
            }
            merge(&mut subscription.metadata, asked);
        });
        Ok(())
    }

    /// How the items are asked to be, under `prefix`.
    pub(super) fn asked_changes(&self, id: &str, asked: &Asked, prefix: &str) -> Result<Vec<ItemChange>, Refused> {
        let all = Sent::of(&asked.form);
        let within = if prefix.is_empty() { Some(&all) } else { all.get(prefix).and_then(Sent::members) };
        let items = within.and_then(|members| members.get("items")?.members());
        let name = |number: &str, rest: &str| match prefix {
            "" => format!("items[{number}][{rest}]"),
            prefix => format!("{prefix}[items][{number}][{rest}]"),
        };
        let own = &self.subscriptions[id].items;
        let changes = items.into_iter().flatten().filter_map(|(number, sent)| Some((number, sent.members()?)));
        let changes = changes.map(|(place, sent)| {
            let text = |name: &str| sent.get(name).and_then(Sent::text);
            let price = text("price").map(|price| self.price(price, &name(place, "price"))).transpose()?;
            let quantity = text("quantity").and_then(|quantity| quantity.parse().ok());
            let Some(item) = text("id") else {
                let price = price.ok_or_else(|| Refused::needs(&name(place, "price")))?;
                return Ok(ItemChange::New(price, quantity.unwrap_or(1)));
            };
            let there = own.iter().find(|own| own.id == item);
            let there = there.ok_or_else(|| Refused::no_such_value("subscription item", item, &name(place, "id")))?;
            if text("deleted") == Some("true") {
                return Ok(ItemChange::Gone(item.to_owned()));
            }
            let price = price.unwrap_or(there.price);
            Ok(ItemChange::Is(item.to_owned(), price, quantity.unwrap_or(there.quantity)))
        });
        let changes = changes.collect::<Result<Vec<_>, Refused>>()?;
        let goes = |change: &&ItemChange| matches!(change, ItemChange::Gone(_));
        let comes = changes.iter().any(|change| matches!(change, ItemChange::New(..)));
        if changes.iter().filter(goes).count() == own.len() && !comes {
            return Err(Refused::invalid(400, None, "A subscription must have at least one active plan."));
        }
        let becomes = |item: &Item| {
            let change = changes.iter().find(|change| change.is_of(&item.id));
            change.map_or(Some(item.price), ItemChange::price)
        };
        let added = changes.iter().filter(|change| matches!(change, ItemChange::New(..))).filter_map(ItemChange::price);
        let mut intervals = own.iter().filter_map(becomes).chain(added).map(|price| price.interval);
        let first = intervals.next();
        if intervals.any(|interval| Some(interval) != first) {
            let message = "All prices of a subscription must have the same `recurring.interval`.";
            return Err(Refused::invalid(400, None, message));
        }
        Ok(changes)
    }

    /// When the difference is billed, and as of when it is counted.
    pub(super) fn asked_proration(&self, id: &str, asked: &Asked, prefix: &str) -> Result<(Prorated, i64), Refused> {
        let name = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}[{name}]") };
        let prorated = match asked.value(&name("proration_behavior")) {
            Some("none") => Prorated::Never,
            Some("always_invoice") => Prorated::AtOnce,
            _ => Prorated::WithTheNextPeriod,
        };
        let at = number(asked, &name("proration_date")).unwrap_or(self.now);
        let period = self.subscriptions[id].items[0].period;
        if number(asked, &name("proration_date")).is_some() && !(period.start..=period.end).contains(&at) {
            let message = "Cannot specify a proration date outside of the current period.";
            return Err(Refused::invalid(400, None, message).about(&name("proration_date")));
        }
        Ok((prorated, at))
    }

    fn create_subscription(&mut self, asked: &Asked) -> Result<String, Refused> {
        let customer = asked.value("customer").ok_or_else(|| Refused::needs("customer"))?;
        self.living_customer(customer, Some("customer"))?;
        let mut prices = Vec::new();
        while let Some(price) = asked.value(&format!("items[{}][price]", prices.len())) {
            prices.push(self.price(price, &format!("items[{}][price]", prices.len()))?);
        }
        if prices.is_empty() {
            return Err(Refused::needs("items[0][price]"));
        }
        if self.customers[customer].currency.as_deref().is_some_and(|own| own != prices[0].currency) {
            let message = "You cannot combine currencies on a single customer.";
            return Err(Refused::invalid(400, None, message));
        }
        let card = asked.value("default_payment_method");
        if let Some(card) = card {
            self.card_of(customer, card)?;
        }
        let days = number(asked, "trial_period_days").map(|days| self.now + days * DAY);
        let first = match asked.value("payment_behavior") {
            Some("error_if_incomplete") => FirstPayment::OrNothing,
            Some("default_incomplete") => FirstPayment::Confirmed,
            _ => FirstPayment::Tried,
        };
        let new = NewSubscription {
            quantity: number(asked, "items[0][quantity]").unwrap_or(1),
            metadata: form::map(&asked.form, "metadata"),
            trial_end: number(asked, "trial_end").or(days),
            anchor: self.asked_anchor(asked, prices[0])?,
            coupon: self.asked_coupon(asked)?,
            ..NewSubscription::of(customer, &prices)
        };
        let id = self.subscribe_by_call(new, card.map(str::to_owned), first).map_err(Refused::unpaid)?;
        if asked.value("cancel_at_period_end") == Some("true") {
            self.schedule_cancel(&id);
        }
        if let Some(at) = number(asked, "cancel_at") {
            self.cancel_at(&id, at);
        }
        Ok(id)
    }

    /// The anchor that is asked for: Stripe takes none that is past, or later than the first period would end by itself.
    fn asked_anchor(&self, asked: &Asked, price: &Price) -> Result<Option<i64>, Refused> {
        let anchor = number(asked, "billing_cycle_anchor");
        let latest = price.interval.end_of_period(self.now, self.now);
        if anchor.is_some_and(|anchor| !(self.now + 1..=latest).contains(&anchor)) {
            let message = "billing_cycle_anchor cannot be later than next natural billing date for plan";
            return Err(Refused::invalid(400, None, message).about("billing_cycle_anchor"));
        }
        Ok(anchor)
    }
}
