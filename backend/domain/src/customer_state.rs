//! A customer as an internal service sees it: everything in one answer, every member always there.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Lock, Tx, record};

use crate::api_keys::view::ApiKeyView;
use crate::invoices::view::{PaymentsView, payments_of};
use crate::licenses::view::LicenseView;
use crate::payment_methods::view::{PaymentMethodView, first_attached};
use crate::subscriptions::Subscription;
use crate::subscriptions::view::SubscriptionView;
use crate::widgets::view::WidgetView;
use crate::{api_keys, licenses, widgets};

/// The answer of `GET /v1/customers/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Customer")]
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

impl CustomerState {
    /// Whose it is.
    pub fn user_id(&self) -> Option<&str> {
        self.user_id.as_deref()
    }
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
        licenses: licenses::view::of_customer(tx, id).await?,
        api_keys: api_keys::view::of_customer(tx, id).await?,
        widgets: widgets::view::of_customer(tx, id).await?,
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
        /// What is charged where nothing newer is there.
        pub default_source_id: Option<String>,
    }
}
