//! A customer as an internal service sees it: everything in one answer, every member always there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::invoices::view::{PaymentsView, payments_of};
use crate::payment_methods::view::{PaymentMethodView, first_attached};
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
    let current = of_customer.iter().find(|subscription| Some(&subscription.id) == current);
    let payment_methods = [
        customer.default_payment_method_id.as_deref(),
        current.and_then(Subscription::default_payment_method),
        customer.default_source_id.as_deref(),
    ];
    Ok(Some(CustomerState {
        default_payment_method: first_attached(tx, payment_methods).await?,
        subscription: current.map(SubscriptionView::of),
        // A placeholder, which only has a name yet, has no status to show.
        subscriptions: of_customer.into_iter().filter_map(|row| Some((row.id, row.status?))).collect(),
        payments: payments_of(tx, id).await?,
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
        /// What is charged where neither it nor the subscription says.
        pub default_source_id: Option<String>,
    }
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
