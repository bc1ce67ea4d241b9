//! What a customer paid, owes and was given back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::heard::Heard;
use crate::stripe::model::{InvoiceStatus, Mode};

/// The `payments` of the answer.
pub(super) fn payments(heard: &Heard) -> Value {
    let invoices = heard.invoices();
    let of = |status| invoices.values().copied().filter(move |invoice| invoice.status == status);
    let mut paid: Vec<_> = of(InvoiceStatus::Paid).collect();
    paid.sort_by_key(|invoice| (invoice.paid_at, &invoice.id));
    let mut open: Vec<_> = of(InvoiceStatus::Open).collect();
    open.sort_by_key(|invoice| (invoice.created, &invoice.id));
    let once = one_off(heard);

    let mut of_invoices = BTreeMap::<String, i64>::new();
    for invoice in &paid {
        *of_invoices.entry(invoice.currency.to_owned()).or_default() += invoice.amount_paid;
    }
    let mut totals = of_invoices.clone();
    for payment in &once {
        *totals.entry(payment.currency.clone()).or_default() += payment.amount;
    }
    let by_invoices = paid.first().map(|invoice| invoice.currency.to_owned());
    let by_sessions = once.first().map(|payment| payment.currency.clone());
    let by_debts = open.first().map(|invoice| invoice.currency.to_owned());
    let currency = by_invoices.or(by_sessions).or(by_debts);

    let mut refunded = BTreeMap::<String, i64>::new();
    for back in heard.given_back() {
        *refunded.entry(back.charge.currency.clone()).or_default() += back.amount();
    }
    refunded.retain(|_, amount| *amount != 0);
    json!({
        "totalPaid": currency.as_ref().and_then(|currency| of_invoices.get(currency)).copied().unwrap_or(0),
        "currency": currency,
        "totals": totals,
        "refunded": refunded,
        "paidInvoices": paid.iter().map(|invoice| &invoice.id).collect::<Vec<_>>(),
        "openInvoices": open.iter().map(|invoice| (&invoice.id, invoice.attempt_count)).collect::<BTreeMap<_, _>>(),
    })
}

struct Paid {
    at: i64,
    id: String,
    amount: i64,
    currency: String,
}

/// The sessions that are payments of their own, the first one paid first.
fn one_off(heard: &Heard) -> Vec<Paid> {
    let sessions = heard.sessions();
    let once = sessions.values().filter(|session| session.mode == Mode::Payment && session.invoice.is_none());
    let mut paid: Vec<_> = once
        .filter_map(|session| {
            let at = heard.paid_at(session)?;
            let received = session.payment_intent.as_deref().and_then(|intent| heard.intent(intent));
            let received = received.map(|intent| intent.amount_received).filter(|amount| *amount > 0);
            let amount = received.unwrap_or(session.amount_total);
            Some(Paid { at, id: session.id.clone(), amount, currency: session.currency.clone() })
        })
        .collect();
    paid.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    paid
}
