//! What a customer paid, owes and was given back, as anybody outside sees it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx, id_set, row};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::invoices::Invoice;
use crate::payments::view::{PaymentEventView, PaymentOutcome};

/// What a customer paid, owes and was given back. Sums in minor units, gross.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Payments")]
pub struct PaymentsView {
    total_paid: i64,
    currency: Option<String>,
    totals: BTreeMap<String, i64>,
    refunded: BTreeMap<String, i64>,
    paid_invoices: Vec<String>,
    open_invoices: BTreeMap<String, i64>,
}

/// An invoice as a payment, as desktop apps are told of it.
pub fn payment(row: &Invoice, outcome: PaymentOutcome) -> PaymentEventView {
    let amount = match outcome {
        PaymentOutcome::Succeeded => row.amount_paid,
        PaymentOutcome::Failed => row.amount_due,
    };
    PaymentEventView {
        id: row.id.clone(),
        invoice_id: Some(row.id.clone()),
        payment_intent_id: None,
        amount: Some(amount),
        currency: row.currency.clone(),
        status: outcome,
        failure_code: None,
        created_at: row.created_at.map(rfc3339),
    }
}

/// What `customer_id` paid, owes and was given back.
pub async fn payments_of(tx: &mut Tx, customer_id: &str) -> Result<PaymentsView, DbError> {
    let of_customer = gross_of(tx, &BTreeSet::from([customer_id.to_owned()])).await?.remove(customer_id);
    Ok(PaymentsView { refunded: refunded(tx, customer_id).await?, ..of_customer.unwrap_or_default() })
}

/// What each of `customers` has paid in all, and in which currency; see [`PaymentsView`].
pub async fn totals_of(
    tx: &mut Tx,
    customers: &BTreeSet<String>,
) -> Result<BTreeMap<String, (i64, Option<String>)>, DbError> {
    let totals = gross_of(tx, customers).await?.into_iter();
    Ok(totals.map(|(customer, view)| (customer, (view.total_paid, view.currency))).collect())
}

/// What customers paid and owe, whatever was given back of it. Of whom nothing of the kind is known there is nothing.
async fn gross_of(tx: &mut Tx, customers: &BTreeSet<String>) -> Result<BTreeMap<String, PaymentsView>, DbError> {
    let mut known: BTreeMap<String, (Vec<InvoiceRow>, Vec<SessionRow>)> = BTreeMap::new();
    for row in invoices(tx, customers).await? {
        known.entry(row.customer_id.clone()).or_default().0.push(row);
    }
    for row in sessions(tx, customers).await? {
        known.entry(row.customer_id.clone()).or_default().1.push(row);
    }
    Ok(known.into_iter().map(|(customer, (invoices, sessions))| (customer, payments(&invoices, &sessions))).collect())
}

row! {
    struct InvoiceRow {
        customer_id: String,
        id: String,
        status: String,
        currency: Option<String>,
        amount_paid: i64,
        attempts: i64,
        paid_at: Option<Timestamp>,
    }
}

row! {
    struct SessionRow {
        customer_id: String,
        id: String,
        kind: String,
        status: Option<String>,
        belongs_to: Option<String>,
        currency: Option<String>,
        amount: i64,
        paid_at: Option<Timestamp>,
    }
}

/// Paid and open ones, in the order in which they were made. Looked at here and not in the statement: by few rows of a table
/// PostgreSQL would begin with all that the table has.
async fn invoices(tx: &mut Tx, customers: &BTreeSet<String>) -> Result<Vec<InvoiceRow>, DbError> {
    let query = tx.sql(
        "SELECT i.customer_id, i.id, i.status, i.currency, i.amount_paid, i.attempts, i.paid_at
         FROM json_each($1) AS wanted
         JOIN invoices AS i ON i.customer_id = wanted.key
         ORDER BY i.created_at, i.id",
    );
    let mut rows: Vec<InvoiceRow> = query.bind(id_set(customers.iter().map(String::as_str))).all().await?;
    rows.retain(|row| matches!(&*row.status, "paid" | "open"));
    Ok(rows)
}

/// One-off Checkout sessions that were paid and made no invoice.
async fn sessions(tx: &mut Tx, customers: &BTreeSet<String>) -> Result<Vec<SessionRow>, DbError> {
    let query = tx.sql(
        "SELECT p.customer_id, p.id, p.kind, p.status, p.belongs_to, p.currency, p.amount, p.paid_at
         FROM json_each($1) AS wanted
         JOIN payments AS p ON p.customer_id = wanted.key
         ORDER BY p.created_at, p.id",
    );
    let mut rows: Vec<SessionRow> = query.bind(id_set(customers.iter().map(String::as_str))).all().await?;
    rows.retain(|row| row.kind == "session" && row.status.as_deref() == Some("succeeded") && row.belongs_to.is_none());
    Ok(rows)
}

/// What was given back, by currency: of the customer's own charges, and of those of which only the invoice is known.
async fn refunded(tx: &mut Tx, customer_id: &str) -> Result<BTreeMap<String, i64>, DbError> {
    let rows: Vec<(Option<String>, i64)> = tx
        .sql(
            "SELECT currency, refunded
             FROM charges
             WHERE customer_id = $1 AND refunded > 0
             UNION ALL
             SELECT charges.currency, charges.refunded
             FROM invoices
             JOIN charges ON charges.belongs_to = invoices.id
             WHERE invoices.customer_id = $1 AND charges.customer_id IS NULL AND charges.refunded > 0",
        )
        .bind(customer_id)
        .all()
        .await?;
    let mut refunded = BTreeMap::new();
    for (currency, amount) in rows {
        add(&mut refunded, currency.as_ref(), amount);
    }
    Ok(refunded)
}

fn add(sums: &mut BTreeMap<String, i64>, currency: Option<&String>, amount: i64) {
    if let Some(currency) = currency {
        let sum = sums.entry(currency.clone()).or_insert(0);
        *sum = sum.saturating_add(amount);
    }
}

/// Each paid invoice counts once. Their total is in the currency of the first of them; where none is paid, the currency
/// is that of the first session that is, else of the first invoice that is owed. Sessions are in the totals by currency
/// alone.
fn payments(invoices: &[InvoiceRow], sessions: &[SessionRow]) -> PaymentsView {
    let (mut paid, open): (Vec<_>, Vec<_>) = invoices.iter().partition(|invoice| invoice.status == "paid");
    // One that does not say when it was paid comes last.
    paid.sort_by_key(|invoice| (invoice.paid_at.is_none(), invoice.paid_at, &invoice.id));
    let mut of_invoices = BTreeMap::new();
    for invoice in &paid {
        add(&mut of_invoices, invoice.currency.as_ref(), invoice.amount_paid);
    }
    let mut totals = of_invoices.clone();
    for session in sessions {
        add(&mut totals, session.currency.as_ref(), session.amount);
    }
    let by_invoices = paid.iter().find_map(|invoice| invoice.currency.as_ref());
    let by_sessions = || {
        let paid = sessions.iter().filter(|session| session.currency.is_some());
        paid.min_by_key(|session| (session.paid_at.is_none(), session.paid_at, &session.id))?.currency.as_ref()
    };
    let by_debts = || open.iter().find_map(|invoice| invoice.currency.as_ref());
    let currency = by_invoices.or_else(by_sessions).or_else(by_debts).cloned();
    PaymentsView {
        total_paid: currency.as_ref().and_then(|currency| of_invoices.get(currency)).copied().unwrap_or_default(),
        currency,
        totals,
        refunded: BTreeMap::new(),
        paid_invoices: paid.iter().map(|invoice| invoice.id.clone()).collect(),
        open_invoices: open.iter().map(|invoice| (invoice.id.clone(), invoice.attempts)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn invoice(id: &str, status: &str, currency: &str, amount_paid: i64, paid_at: Option<i64>) -> InvoiceRow {
        InvoiceRow {
            customer_id: "cus_1".to_owned(),
            id: id.to_owned(),
            status: status.to_owned(),
            currency: Some(currency.to_owned()),
            amount_paid,
            attempts: 2,
            paid_at: paid_at.and_then(from_unix),
        }
    }

    fn session(id: &str, currency: &str, amount: i64, paid_at: i64) -> SessionRow {
        let (customer_id, id) = ("cus_1".to_owned(), id.to_owned());
        let (kind, status) = ("session".to_owned(), Some("succeeded".to_owned()));
        let (currency, paid_at) = (Some(currency.to_owned()), from_unix(paid_at));
        SessionRow { customer_id, id, kind, status, belongs_to: None, currency, amount, paid_at }
    }

    #[test]
    fn without_an_invoice_there_is_no_currency() {
        assert_eq!(payments(&[], &[]), PaymentsView::default());
    }

    #[test]
    fn the_total_is_in_the_currency_of_the_first_one_paid_and_other_currencies_are_beside_it() {
        let invoices = [
            invoice("in_c", "paid", "eur", 500, Some(30)),
            invoice("in_b", "paid", "usd", 100, Some(20)),
            invoice("in_a", "paid", "usd", 10, None),
            invoice("in_d", "paid", "eur", 0, Some(20)),
        ];
        let view = payments(&invoices, &[]);
        assert_eq!((view.total_paid, view.currency.as_deref()), (110, Some("usd")));
        assert_eq!(view.totals, BTreeMap::from([("eur".to_owned(), 500), ("usd".to_owned(), 110)]));
        assert_eq!(view.paid_invoices, ["in_b", "in_d", "in_c", "in_a"]);
    }

    #[test]
    fn what_is_owed_gives_the_currency_while_nothing_is_paid() {
        let view = payments(&[invoice("in_a", "open", "gbp", 0, None)], &[]);
        assert_eq!((view.total_paid, view.currency.as_deref()), (0, Some("gbp")));
        assert_eq!(view.totals, BTreeMap::new());
        assert_eq!(view.open_invoices, BTreeMap::from([("in_a".to_owned(), 2)]));
    }

    #[test]
    fn a_one_off_session_is_in_the_totals_and_not_among_the_invoices() {
        let view = payments(&[invoice("in_a", "paid", "usd", 2900, Some(30))], &[session("cs_a", "usd", 500, 20)]);
        assert_eq!((view.total_paid, view.currency.as_deref()), (2900, Some("usd")));
        assert_eq!(view.totals, BTreeMap::from([("usd".to_owned(), 3400)]));
        assert_eq!(view.paid_invoices, ["in_a"]);
        let other = payments(&[invoice("in_a", "paid", "usd", 2900, Some(30))], &[session("cs_a", "eur", 500, 20)]);
        assert_eq!((other.total_paid, other.currency.as_deref()), (2900, Some("usd")));
        let alone = payments(&[invoice("in_a", "open", "eur", 0, None)], &[session("cs_a", "usd", 500, 20)]);
        assert_eq!((alone.total_paid, alone.currency.as_deref()), (0, Some("usd")));
    }

    #[test]
    fn sums_end_at_the_largest_number_and_do_not_wrap() {
        let largest = |id: &str| invoice(id, "paid", "usd", i64::MAX, Some(10));
        let view = payments(&[largest("in_a"), largest("in_b")], &[session("cs_a", "usd", i64::MAX, 20)]);
        assert_eq!(view.total_paid, i64::MAX);
        assert_eq!(view.totals, BTreeMap::from([("usd".to_owned(), i64::MAX)]));
    }
}
