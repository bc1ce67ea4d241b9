//! What is not here as Stripe has it: what taking its objects in changes of what users see.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tollgate_db::UnitOfWork;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::customers::Customer;
use tollgate_domain::invoices::Invoice;
use tollgate_domain::plans::Plans;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_shared::clock::rfc3339;
use tollgate_stripe::{Object, Observation};

use crate::app::App;
use crate::write::WriteError;

/// Something that was not as Stripe has it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// Stripe's id: `sub_…`
    pub object: String,
    /// As users see it: `cancelAtPeriodEnd`.
    pub field: String,
    /// What it was here; null also where nothing was known of the object.
    pub was: Value,
    /// What it is, by Stripe.
    pub is: Value,
}

/// What is seen of a subscription, and what its customer is known and charged by.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSubscription<'a> {
    #[serde(flatten)]
    subscription: PlannedSubscriptionView,
    user_id: Option<&'a str>,
    default_payment_method: Option<&'a str>,
    latest_invoice: Option<&'a str>,
}

impl<'a> ShownSubscription<'a> {
    fn of(row: &'a Subscription, plans: &Plans) -> Self {
        Self {
            subscription: PlannedSubscriptionView::of(row, plans),
            user_id: row.user_id(),
            default_payment_method: row.default_payment_method(),
            latest_invoice: row.latest_invoice_id.as_deref(),
        }
    }
}

/// What is seen of an invoice. Its addresses are others each time that Stripe is asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownInvoice<'a> {
    number: Option<&'a str>,
    status: &'a str,
    currency: Option<&'a str>,
    amount_due: i64,
    amount_paid: i64,
    attempts: i64,
    next_attempt_at: Option<String>,
    paid_at: Option<String>,
}

impl<'a> ShownInvoice<'a> {
    fn of(row: &'a Invoice) -> Self {
        Self {
            number: row.number.as_deref(),
            status: &row.status,
            currency: row.currency.as_deref(),
            amount_due: row.amount_due,
            amount_paid: row.amount_paid,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at.map(rfc3339),
            paid_at: row.paid_at.map(rfc3339),
        }
    }
}

/// What is seen of each object, by its fields.
type Shown = BTreeMap<String, Value>;

impl App {
    /// Takes in objects as Stripe showed them, by the same rules as its events, with whatever else is `touched`; gives what
    /// was not so here.
    pub async fn take_in(
        &self,
        seen: &[Observation],
        touched: Touched,
    ) -> Result<Vec<Difference>, WriteError<Infallible>> {
        self.take_in_and(seen, touched, |_, _| ()).await
    }

    /// The same, with what else is written in the same transaction, given what was found.
    pub async fn take_in_and(
        &self,
        seen: &[Observation],
        touched: Touched,
        mut and: impl FnMut(&mut UnitOfWork, &[Difference]) + Send,
    ) -> Result<Vec<Difference>, WriteError<Infallible>> {
        let touched = with(touched, seen);
        let written = self.write(&touched, |work| {
            let found = self.applied(work, seen);
            and(work, &found);
            Ok(found)
        });
        Ok(written.await?.0)
    }

    /// What [`App::take_in`] would find; nothing is changed.
    pub async fn differences(&self, seen: &[Observation]) -> Result<Vec<Difference>, WriteError<Infallible>> {
        let touched = with(Touched::default(), seen);
        // What is refused is not written.
        match self.write(&touched, |work| Err::<(), _>(self.applied(work, seen))).await {
            Ok(_) => Ok(Vec::new()),
            Err(WriteError::Refused(found)) => Ok(found),
            Err(WriteError::Panicked) => Err(WriteError::Panicked),
            Err(WriteError::Database(failure)) => Err(WriteError::Database(failure)),
        }
    }

    /// Lets `rule` change what is `touched`, and gives what users see otherwise by that.
    pub async fn differences_by(
        &self,
        touched: &Touched,
        mut rule: impl FnMut(&mut UnitOfWork) + Send,
    ) -> Result<Vec<Difference>, WriteError<Infallible>> {
        let written = self.write(touched, |work| {
            let before = shown(work, &self.settings.plans);
            rule(work);
            Ok(between(&before, &shown(work, &self.settings.plans)))
        });
        Ok(written.await?.0)
    }

    fn applied(&self, work: &mut UnitOfWork, seen: &[Observation]) -> Vec<Difference> {
        let before = shown(work, &self.settings.plans);
        for seen in seen {
            apply::apply(work, &self.settings, seen);
        }
        between(&before, &shown(work, &self.settings.plans))
    }
}

/// Those that are of the objects in `seen`, and not of what follows from them.
pub fn of_objects(mut found: Vec<Difference>, seen: &[Observation]) -> Vec<Difference> {
    let ids: BTreeSet<_> = seen.iter().filter_map(object_id).collect();
    found.retain(|difference| ids.contains(&*difference.object));
    found
}

/// The id of the object that an observation is a snapshot of, where what is seen of it is compared.
pub fn object_id(observation: &Observation) -> Option<&str> {
    match &observation.object {
        Object::Customer { after, .. } => Some(&after.id),
        Object::Subscription { after, .. } => Some(&after.id),
        Object::Invoice(invoice, _) => Some(&invoice.id),
        _ => None,
    }
}

fn with(mut touched: Touched, seen: &[Observation]) -> Touched {
    for seen in seen {
        touched.add(seen);
    }
    touched
}

fn shown(work: &UnitOfWork, plans: &Plans) -> Shown {
    let customers = work.all::<Customer>().map(|row| {
        let texts = [
            ("name", row.name.clone()),
            ("email", row.email.clone()),
            ("tier", Some(row.tier.clone())),
            ("defaultPaymentMethod", row.default_payment_method_id.clone()),
        ];
        let members = texts.map(|(name, value)| (name.to_owned(), Value::from(value)));
        let deleted = [("deleted".to_owned(), row.deleted.into())];
        (row.id.clone(), members.into_iter().chain(deleted).collect::<Value>())
    });
    // Of a mere name nothing is seen.
    let subscriptions = work.all::<Subscription>().filter(|row| row.status.is_some());
    let subscriptions = subscriptions.map(|row| (row.id.clone(), json(&ShownSubscription::of(row, plans))));
    let invoices = work.all::<Invoice>().filter(|row| !row.status.is_empty());
    let invoices = invoices.map(|row| (row.id.clone(), json(&ShownInvoice::of(row))));
    customers.chain(subscriptions).chain(invoices).collect()
}

fn json(view: &impl Serialize) -> Value {
    serde_json::to_value(view).expect("a view has only texts as names")
}

fn between(before: &Shown, after: &Shown) -> Vec<Difference> {
    let mut found = Vec::new();
    for (object, is) in after {
        for (field, is) in is.as_object().into_iter().flatten() {
            let was = before.get(object).and_then(|was| was.get(field)).cloned().unwrap_or_default();
            if was != *is {
                found.push(Difference { object: object.clone(), field: field.clone(), was, is: is.clone() });
            }
        }
    }
    found
}
