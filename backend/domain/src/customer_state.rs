//! A customer as an internal service sees it: everything in one answer, every member always there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::subscriptions::Subscription;
use crate::subscriptions::view::SubscriptionView;
use crate::widgets::Widget;
use tollgate_db::{DbError, Json, Lock, Tx, record};

/// The answer of `GET /v1/customers/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomerState {
    stripe_customer_id: String,
    user_id: Option<String>,
    email: Option<String>,
    name: Option<String>,
    deleted: bool,
    tier: String,
    subscription: Option<SubscriptionView>,
    subscriptions: BTreeMap<String, String>,
    payments: PaymentsView,
    default_payment_method: Option<PaymentMethodView>,
    licenses: Vec<LicenseView>,
    api_keys: Vec<ApiKeyView>,
    widgets: Vec<WidgetView>,
}

/// What a customer paid and owes, by its invoices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentsView {
    total_paid: i64,
    currency: Option<String>,
    totals: BTreeMap<String, i64>,
    paid_invoices: Vec<String>,
    open_invoices: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentMethodView {
    stripe_payment_method_id: String,
    brand: Option<String>,
    last4: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LicenseView {
    id: String,
    key: String,
    status: String,
    tier: String,
    max_activations: i64,
    activations: i64,
    expires_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiKeyView {
    id: String,
    prefix: String,
    created_at: String,
    revoked_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct WidgetView {
    id: String,
    name: String,
    config: Value,
}

/// Everything about the customer `id`, if we have heard of it.
pub async fn load(tx: &mut Tx, id: &str) -> Result<Option<CustomerState>, DbError> {
    let ids = BTreeSet::from([id.to_owned()]);
    let Some(customer) = tx.load::<ShownCustomer>("id", &ids, Lock::None).await?.pop() else { return Ok(None) };
    let of_customer: Vec<Subscription> = tx.load("customer_id", &ids, Lock::None).await?;
    let current = customer.current_subscription_id.as_ref();
    Ok(Some(CustomerState {
        subscription: of_customer
            .iter()
            .find(|subscription| Some(&subscription.id) == current)
            .map(SubscriptionView::of),
        // A placeholder, which only has a name yet, has no status to show.
        subscriptions: of_customer.into_iter().filter_map(|row| Some((row.id, row.status?))).collect(),
        payments: payments(&invoices(tx, id).await?),
        default_payment_method: default_payment_method(tx, customer.default_payment_method_id).await?,
        licenses: licenses(tx, id).await?,
        api_keys: api_keys(tx, id).await?,
        widgets: widgets(tx, id).await?,
        stripe_customer_id: customer.id,
        user_id: customer.user_id,
        email: customer.email,
        name: customer.name,
        deleted: customer.deleted,
        tier: customer.tier,
    }))
}

record! {
    /// The columns of a customer that are shown: its history, which is far longer, stays where it is.
    struct ShownCustomer in "customers" {
        /// `cus_…`
        pub id: String,
        /// Our user.
        pub user_id: Option<String>,
        /// Its e-mail address.
        pub email: Option<String>,
        /// Its name.
        pub name: Option<String>,
        /// Deleted at Stripe.
        pub deleted: bool,
        /// What it may use.
        pub tier: String,
        /// Its current subscription.
        pub current_subscription_id: Option<String>,
        /// What is charged.
        pub default_payment_method_id: Option<String>,
    }
}

#[derive(Clone, Debug)]
struct InvoiceRow {
    id: String,
    status: String,
    currency: Option<String>,
    amount_paid: i64,
    attempts: i64,
    paid_at: Option<Timestamp>,
}

/// Paid and open ones, in the order in which they were made.
async fn invoices(tx: &mut Tx, customer_id: &str) -> Result<Vec<InvoiceRow>, DbError> {
    let rows: Vec<(String, String, Option<String>, i64, i64, Option<Timestamp>)> = tx
        .sql(
            "SELECT id, status, currency, amount_paid, attempts, paid_at
             FROM invoices
             WHERE customer_id = $1 AND status IN ('paid', 'open')
             ORDER BY created_at, id",
        )
        .bind(customer_id)
        .all()
        .await?;
    let row = |(id, status, currency, amount_paid, attempts, paid_at)| InvoiceRow {
        id,
        status,
        currency,
        amount_paid,
        attempts,
        paid_at,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Each paid invoice counts once. The total is in the currency of the first one paid; until one is, the currency is that of
/// the first one owed.
fn payments(invoices: &[InvoiceRow]) -> PaymentsView {
    let (mut paid, open): (Vec<_>, Vec<_>) = invoices.iter().partition(|invoice| invoice.status == "paid");
    // One that does not say when it was paid comes last.
    paid.sort_by_key(|invoice| (invoice.paid_at.is_none(), invoice.paid_at, &invoice.id));
    let mut totals = BTreeMap::new();
    for invoice in &paid {
        if let Some(currency) = &invoice.currency {
            *totals.entry(currency.clone()).or_insert(0) += invoice.amount_paid;
        }
    }
    let currency = paid.iter().chain(&open).find_map(|invoice| invoice.currency.clone());
    PaymentsView {
        total_paid: currency.as_ref().and_then(|currency| totals.get(currency)).copied().unwrap_or_default(),
        currency,
        totals,
        paid_invoices: paid.iter().map(|invoice| invoice.id.clone()).collect(),
        open_invoices: open.iter().map(|invoice| (invoice.id.clone(), invoice.attempts)).collect(),
    }
}

/// The default, unless it was detached. Brand and digits are not known before its own event came.
async fn default_payment_method(tx: &mut Tx, id: Option<String>) -> Result<Option<PaymentMethodView>, DbError> {
    let Some(id) = id else { return Ok(None) };
    let row: Option<(Option<String>, Option<String>, bool)> =
        tx.sql("SELECT brand, last4, detached FROM payment_methods WHERE id = $1").bind(id.as_str()).optional().await?;
    Ok(match row {
        Some((_, _, true)) => None,
        Some((brand, last4, false)) => Some(PaymentMethodView { stripe_payment_method_id: id, brand, last4 }),
        None => Some(PaymentMethodView { stripe_payment_method_id: id, brand: None, last4: None }),
    })
}

async fn licenses(tx: &mut Tx, customer_id: &str) -> Result<Vec<LicenseView>, DbError> {
    let rows: Vec<(String, String, String, String, i64, Option<Timestamp>)> = tx
        .sql(
            "SELECT id, key, status, tier, max_activations, expires_at
             FROM licenses
             WHERE customer_id = $1
             ORDER BY id",
        )
        .bind(customer_id)
        .all()
        .await?;
    let view = |(id, key, status, tier, max_activations, expires_at): (_, _, _, _, _, Option<Timestamp>)| LicenseView {
        id,
        key,
        status,
        tier,
        max_activations,
        activations: 0, // No machine can be activated yet.
        expires_at: expires_at.map(rfc3339),
    };
    Ok(rows.into_iter().map(view).collect())
}

async fn api_keys(tx: &mut Tx, customer_id: &str) -> Result<Vec<ApiKeyView>, DbError> {
    let rows: Vec<(String, String, Timestamp, Option<Timestamp>)> = tx
        .sql(
            "SELECT id, prefix, created_at, revoked_at
             FROM api_keys
             WHERE customer_id = $1
             ORDER BY id",
        )
        .bind(customer_id)
        .all()
        .await?;
    let view = |(id, prefix, created_at, revoked_at): (_, _, _, Option<Timestamp>)| ApiKeyView {
        id,
        prefix,
        created_at: rfc3339(created_at),
        revoked_at: revoked_at.map(rfc3339),
    };
    Ok(rows.into_iter().map(view).collect())
}

async fn widgets(tx: &mut Tx, customer_id: &str) -> Result<Vec<WidgetView>, DbError> {
    let rows: Vec<Widget> = tx.load("customer_id", &BTreeSet::from([customer_id.to_owned()]), Lock::None).await?;
    let view = |Widget { id, name, config: Json(config), .. }| WidgetView { id, name, config };
    Ok(rows.into_iter().map(view).collect())
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn invoice(id: &str, status: &str, currency: &str, amount_paid: i64, paid_at: Option<i64>) -> InvoiceRow {
        InvoiceRow {
            id: id.to_owned(),
            status: status.to_owned(),
            currency: Some(currency.to_owned()),
            amount_paid,
            attempts: 2,
            paid_at: paid_at.and_then(from_unix),
        }
    }

    #[test]
    fn without_an_invoice_there_is_no_currency() {
        assert_eq!(payments(&[]), PaymentsView::default());
    }

    #[test]
    fn the_total_is_in_the_currency_of_the_first_one_paid_and_other_currencies_are_beside_it() {
        let view = payments(&[
            invoice("in_c", "paid", "eur", 500, Some(30)),
            invoice("in_b", "paid", "usd", 100, Some(20)),
            invoice("in_a", "paid", "usd", 10, None),
            invoice("in_d", "paid", "eur", 0, Some(20)),
        ]);
        assert_eq!((view.total_paid, view.currency.as_deref()), (110, Some("usd")));
        assert_eq!(view.totals, BTreeMap::from([("eur".to_owned(), 500), ("usd".to_owned(), 110)]));
        assert_eq!(view.paid_invoices, ["in_b", "in_d", "in_c", "in_a"]);
    }

    #[test]
    fn what_is_owed_gives_the_currency_while_nothing_is_paid() {
        let view = payments(&[invoice("in_a", "open", "gbp", 0, None)]);
        assert_eq!((view.total_paid, view.currency.as_deref()), (0, Some("gbp")));
        assert_eq!(view.totals, BTreeMap::new());
        assert_eq!(view.open_invoices, BTreeMap::from([("in_a".to_owned(), 2)]));
    }
}
