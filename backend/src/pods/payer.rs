//! Who pays for a membership: which customer at Stripe, and by what.

use std::collections::BTreeSet;

use rocket::http::Status;
use serde::Deserialize;
use tollgate_db::{Lock, Tx};
use tollgate_domain::customers::{self, Customer};
use tollgate_domain::memberships::Membership;
use tollgate_domain::users;
use tollgate_stripe::ObjectType;

use super::at_stripe::{Teller, named};
use crate::billing::answers;
use crate::http::auth::User;
use crate::http::error::ApiError;
use crate::stripe_api::Call;
use crate::stripe_api::error::CallError;
use crate::stripe_api::form::Form;

/// Who pays, and whether what is paid with is still to be made theirs.
pub(super) struct Payer {
    /// `cus_…`; none where the user is to become a customer.
    pub(super) customer: Option<String>,
    /// `pm_…` that is nobody's yet.
    pub(super) to_attach: Option<String>,
}

#[derive(Deserialize)]
struct Method {
    #[serde(default)]
    customer: Option<String>,
}

#[derive(Deserialize)]
struct Defaults {
    #[serde(default)]
    invoice_settings: Settings,
    #[serde(default)]
    default_source: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(default)]
    default_payment_method: Option<serde_json::Value>,
}

impl Teller<'_> {
    /// The owner of the payment method that is named, else the user's newest customer, who has to have one.
    pub(super) async fn payer(self, user: &User, method: Option<&str>) -> Result<Payer, ApiError> {
        let own = own_customers(&mut self.app.read().await?, &user.id).await?;
        let newest = own.iter().max_by_key(|row| (row.first_seen_at, &row.id));
        let Some(method) = method else {
            let newest = newest.ok_or_else(payment_method_required)?;
            if newest.default_payment_method_id.is_none() && newest.default_source_id.is_none() {
                self.has_default(&newest.id).await?.then_some(()).ok_or_else(payment_method_required)?;
            }
            return Ok(Payer { customer: Some(newest.id.clone()), to_attach: None });
        };
        let call = Call::get("payment_methods.read", &["payment_methods", method]);
        let answer = self.stripe.read(&call).await.map_err(of_method)?;
        let Method { customer: owner } = serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())?;
        match owner {
            Some(owner) if own.iter().any(|row| row.id == owner) => {
                Ok(Payer { customer: Some(owner), to_attach: None })
            }
            Some(_) => Err(no_such_method()),
            None => Ok(Payer { customer: newest.map(|row| row.id.clone()), to_attach: Some(method.to_owned()) }),
        }
    }

    /// Refuses a payment method that is not that of a member's customer.
    pub(super) async fn owns(self, member: &Membership, method: &str) -> Result<(), ApiError> {
        let call = Call::get("payment_methods.read", &["payment_methods", method]);
        let answer = self.stripe.read(&call).await.map_err(of_method)?;
        let Method { customer: owner } = serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())?;
        (owner.is_some() && owner == member.customer_id).then_some(()).ok_or_else(no_such_method)
    }

    /// Whether Stripe knows what to charge a customer by: our rows may not have heard of it.
    async fn has_default(self, customer: &str) -> Result<bool, ApiError> {
        let answer = self.stripe.read(&Call::get("customers.read", &["customers", customer])).await?;
        let Defaults { invoice_settings, default_source } =
            serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())?;
        Ok(invoice_settings.default_payment_method.is_some() || default_source.is_some())
    }

    /// The customer who pays: made now where the user is none, with what is to be theirs.
    pub(super) async fn settle_payer(self, user: &User, payer: Payer, membership_id: &str) -> Result<String, ApiError> {
        let customer = match payer.customer {
            Some(customer) => customer,
            None => self.make_customer(user, membership_id).await?,
        };
        if let Some(method) = payer.to_attach {
            let form = Form::default().with("customer", &customer);
            let call = Call::post("payment_methods.attach", &["payment_methods", &method, "attach"]).with(form);
            let key = format!("tollgate:{membership_id}:attach:{method}");
            self.stripe.once(&call, &key).await.map_err(of_method)?;
        }
        Ok(customer)
    }

    async fn make_customer(self, user: &User, membership_id: &str) -> Result<String, ApiError> {
        let known = users::load(&mut self.app.read().await?, &user.id).await?;
        let (email, name) = known.map_or((None, None), |row| (row.email, row.name));
        let form =
            Form::default().with_some("email", email).with_some("name", name).with("metadata[user_id]", &user.id);
        let call = Call::post("customers.create", &["customers"]).with(form);
        let answer = self.stripe.once(&call, &format!("tollgate:user:{}:customer", user.id)).await?;
        let seen = self.seen(ObjectType::Customer, &answer)?;
        // Whether it could be written or not: the subscription names it.
        self.take_in(&seen, membership_id).await?;
        Ok(named(&answer)?.id)
    }

    /// Whether a customer pays in another currency already: Stripe takes one at a time.
    pub(super) async fn pays_in_another(self, customer: &str, currency: &str) -> Result<bool, ApiError> {
        let answer = self.stripe.read(&Call::get("customers.read", &["customers", customer])).await?;
        Ok(named(&answer)?.currency.is_some_and(|own| !own.eq_ignore_ascii_case(currency)))
    }
}

/// The customers of a user who are there, in our own account.
async fn own_customers(tx: &mut Tx, user_id: &str) -> Result<Vec<Customer>, ApiError> {
    let ids: BTreeSet<_> = customers::of_user(tx, user_id).await?.into_iter().collect();
    let rows: Vec<Customer> = tx.load("id", &ids, Lock::None).await?;
    Ok(rows.into_iter().filter(|row| !row.deleted && row.account.is_none()).collect())
}

/// 402: there is nothing to pay with.
pub(super) fn payment_method_required() -> ApiError {
    ApiError::new(
        Status::PaymentRequired,
        "payment_method_required",
        "you have no payment method yet; add one, or name one in `paymentMethodId`",
    )
}

/// A payment method that is not there, or is somebody else's, is the caller's mistake.
fn of_method(error: CallError) -> ApiError {
    if error.refusal().is_some_and(|refusal| matches!(refusal.status.as_u16(), 400 | 404)) {
        return no_such_method();
    }
    error.into()
}

fn no_such_method() -> ApiError {
    ApiError::invalid_parameter("paymentMethodId", "there is no such payment method of yours")
}
