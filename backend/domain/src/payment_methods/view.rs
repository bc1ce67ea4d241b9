//! The payment method that will be charged next, as anybody outside sees it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use tollgate_db::{DbError, Lock, Tx};

use crate::payment_methods::PaymentMethod;

/// A payment method, as anybody outside sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PaymentMethod")]
pub struct PaymentMethodView {
    stripe_payment_method_id: String,
    brand: Option<String>,
    last4: Option<String>,
}

/// The first of `candidates` that was not detached. Brand and digits are not known before its own event came.
pub async fn first_attached(tx: &mut Tx, candidates: [Option<&str>; 3]) -> Result<Option<PaymentMethodView>, DbError> {
    let ids: BTreeSet<_> = candidates.into_iter().flatten().map(str::to_owned).collect();
    let known: Vec<PaymentMethod> = tx.load("id", &ids, Lock::None).await?;
    let find = |id: &str| known.iter().find(|method| method.id == id);
    let attached = candidates.into_iter().flatten().find(|id| !find(id).is_some_and(|method| method.detached));
    Ok(attached.map(|id| PaymentMethodView {
        stripe_payment_method_id: id.to_owned(),
        brand: find(id).and_then(|method| method.brand.clone()),
        last4: find(id).and_then(|method| method.last4.clone()),
    }))
}
