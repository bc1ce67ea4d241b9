//! The payments of a user, the newest first, each once: what an intent pays stands for the intent as soon as it is a
//! payment itself. Until then the intent is shown, so that a failed one is seen.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx, row};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// A payment as whoever pays sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Payment")]
pub struct PaymentView {
    id: String,
    invoice_id: Option<String>,
    payment_intent_id: Option<String>,
    amount: i64,
    refunded: i64,
    currency: Option<String>,
    status: PaymentStatus,
    failure_code: Option<String>,
    created_at: String,
    /// The pod that it was paid into.
    pod_id: Option<String>,
}

/// What became of a payment so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing is decided yet.
    Pending,
    /// Money came.
    Succeeded,
    /// Money should have come and did not.
    Failed,
    /// None will come.
    Canceled,
}

impl PaymentStatus {
    /// Of a row's status, which is Stripe's where the row is an intent's: there a failure puts the intent back to where it
    /// wants a payment method, with the reason beside it.
    pub fn of(status: &str, failure_code: Option<&str>) -> Self {
        match status {
            "succeeded" => Self::Succeeded,
            "canceled" => Self::Canceled,
            "failed" => Self::Failed,
            "requires_payment_method" if failure_code.is_some() => Self::Failed,
            _ => Self::Pending,
        }
    }
}

row! {
    /// What is shown of a row of `payments`.
    struct Shown {
        pub id: String,
        pub kind: String,
        pub belongs_to: Option<String>,
        pub payment_intent_id: Option<String>,
        pub amount: i64,
        pub refunded: i64,
        pub currency: Option<String>,
        pub status: String,
        pub failure_code: Option<String>,
        pub created_at: Timestamp,
        pub pod_id: Option<String>,
    }
}

/// A page of the payments of `customers`.
pub async fn list(tx: &mut Tx, customers: &[String], page: &Page) -> Result<List<PaymentView>, DbError> {
    let mut rows = Vec::new();
    for customer in customers {
        rows.extend(of_customer(tx, customer, page).await?);
    }
    Ok(page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() }).map(PaymentView::from))
}

/// Those of one customer that the page may show. A session that made an invoice is paid by that. What was given back
/// stands with the charge, whose name is the intent's, or another's that pays the same.
async fn of_customer(tx: &mut Tx, customer_id: &str, page: &Page) -> Result<Vec<Shown>, DbError> {
    tx.sql(
        "SELECT id, kind, belongs_to,
                COALESCE(payment_intent_id,
                         (SELECT max(charges.id) FROM charges
                          WHERE charges.belongs_to = payments.id AND charges.id LIKE 'pi%')) AS payment_intent_id,
                amount,
                CAST((SELECT COALESCE(sum(charges.refunded), 0) FROM charges WHERE charges.belongs_to = payments.id)
                     + COALESCE((SELECT charges.refunded FROM charges WHERE charges.id = payments.id), 0)
                     AS BIGINT) AS refunded,
                currency, status, failure_code, created_at,
                (SELECT COALESCE(invoices.pod_id, subscriptions.pod_id)
                 FROM invoices LEFT JOIN subscriptions ON subscriptions.id = invoices.subscription_id
                 WHERE invoices.id = COALESCE(payments.belongs_to, payments.id)) AS pod_id
         FROM payments
         WHERE customer_id = $1 AND (created_at, id) < ($2, $3) AND status IS NOT NULL
           AND (belongs_to IS NULL
                OR kind = 'intent'
                   AND NOT EXISTS (SELECT 1 FROM payments AS payee
                                   WHERE payee.id = payments.belongs_to AND payee.status IS NOT NULL))
         ORDER BY created_at DESC, id DESC
         LIMIT $4",
    )
    .bind_page(customer_id, page)
    .all()
    .await
}

impl From<Shown> for PaymentView {
    fn from(row: Shown) -> Self {
        let invoice_id = if row.kind == "invoice" { Some(row.id.clone()) } else { row.belongs_to };
        Self {
            status: PaymentStatus::of(&row.status, row.failure_code.as_deref()),
            id: row.id,
            invoice_id: invoice_id.filter(|id| id.starts_with("in_")),
            payment_intent_id: row.payment_intent_id,
            amount: row.amount,
            refunded: row.refunded,
            currency: row.currency,
            failure_code: row.failure_code,
            created_at: rfc3339(row.created_at),
            pod_id: row.pod_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_has_failed_when_it_says_why() {
        let status = |status: &str, code: Option<&str>| PaymentStatus::of(status, code);
        assert_eq!(status("requires_payment_method", Some("insufficient_funds")), PaymentStatus::Failed);
        assert_eq!(status("requires_payment_method", None), PaymentStatus::Pending);
        // What an earlier attempt said stays until the next one ends.
        assert_eq!(status("processing", Some("insufficient_funds")), PaymentStatus::Pending);
        assert_eq!(status("a status of next year", None), PaymentStatus::Pending);
        assert_eq!(status("succeeded", None), PaymentStatus::Succeeded);
        assert_eq!(status("canceled", Some("expired_card")), PaymentStatus::Canceled);
    }
}
