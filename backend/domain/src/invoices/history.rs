//! The invoices of a user, the newest first.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx, row};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// An invoice as whoever pays it sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Invoice")]
pub struct InvoiceView {
    id: String,
    number: Option<String>,
    status: String,
    currency: Option<String>,
    amount_due: i64,
    amount_paid: i64,
    attempts: i64,
    next_attempt_at: Option<String>,
    created_at: String,
    paid_at: Option<String>,
    hosted_invoice_url: Option<String>,
    invoice_pdf: Option<String>,
    /// The pod that it was paid into.
    pod_id: Option<String>,
}

row! {
    /// What is shown of a row of `invoices`.
    struct Shown {
        pub id: String,
        pub number: Option<String>,
        pub status: String,
        pub currency: Option<String>,
        pub amount_due: i64,
        pub amount_paid: i64,
        pub attempts: i64,
        pub next_attempt_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub paid_at: Option<Timestamp>,
        pub hosted_invoice_url: Option<String>,
        pub invoice_pdf: Option<String>,
        pub pod_id: Option<String>,
    }
}

/// A page of the invoices of `customers`.
pub async fn list(tx: &mut Tx, customers: &[String], page: &Page) -> Result<List<InvoiceView>, DbError> {
    let mut rows = Vec::new();
    for customer in customers {
        // One that is a mere name yet has no time.
        let query = tx.sql(
            "SELECT id, number, status, currency, amount_due, amount_paid, attempts, next_attempt_at, created_at, paid_at,
                    hosted_invoice_url, invoice_pdf,
                    COALESCE(pod_id, (SELECT subscriptions.pod_id FROM subscriptions
                                      WHERE subscriptions.id = invoices.subscription_id)) AS pod_id
             FROM invoices
             WHERE customer_id = $1 AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        );
        rows.extend(query.bind_page(customer, page).all::<Shown>().await?);
    }
    Ok(page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() }).map(InvoiceView::from))
}

impl From<Shown> for InvoiceView {
    fn from(row: Shown) -> Self {
        Self {
            id: row.id,
            number: row.number,
            status: row.status,
            currency: row.currency,
            amount_due: row.amount_due,
            amount_paid: row.amount_paid,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at.map(rfc3339),
            created_at: rfc3339(row.created_at),
            paid_at: row.paid_at.map(rfc3339),
            hosted_invoice_url: row.hosted_invoice_url,
            invoice_pdf: row.invoice_pdf,
            pod_id: row.pod_id,
        }
    }
}
