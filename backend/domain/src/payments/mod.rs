//! Payments: one row for each paid invoice, each one-off Checkout session and each payment intent, each counted once.
//!
//! An intent pays an invoice or a session and is then no payment of its own; `belongs_to` says which. From API version
//! 2025-03-31 on an intent itself hardly says so: that comes from `invoice_payment.paid` or from the session, and is
//! kept with the intent's [`charges`] until there is a payment that it can be said of.

pub mod history;
pub mod view;

use serde_json::json;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::charges::{self, prefer_invoice};
use crate::events::{EventType, PendingEvent};
use crate::payments::view::{PaymentEventView, PaymentOutcome};
use tollgate_db::{UnitOfWork, record};
use tollgate_stripe::{self as stripe, Observation, SessionOutcome};

record! {
    /// A row of `payments`.
    pub struct Payment in "payments" {
        /// `in_…`, `cs_…` or `pi_…`: what was paid, which is what makes it one payment.
        pub id: String,
        /// `invoice`, `session` or `intent`.
        pub kind: String,
        /// Who pays.
        pub customer_id: Option<String>,
        /// The invoice or session that this one is a part of.
        pub belongs_to: Option<String>,
        /// The intent that pays it.
        pub payment_intent_id: Option<String>,
        /// In the currency's minor unit.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// `succeeded`, `failed`, `pending`, or an intent's own status; null for a placeholder.
        pub status: Option<String>,
        /// Why it failed, in Stripe's words.
        pub failure_code: Option<String>,
        /// When it was paid.
        pub paid_at: Option<Timestamp>,
        /// When Stripe made it.
        pub created_at: Option<Timestamp>,
        /// When the newest snapshot was made; null for a placeholder.
        pub seen_at: Option<Timestamp>,
        /// The newest snapshot's event.
        pub seen_source: Option<String>,
    }
}

impl Payment {
    /// A row of which only the name is known. The kind follows from the id's prefix.
    pub fn placeholder(id: &str) -> Self {
        let kind = match id.split_once('_') {
            Some(("in", _)) => "invoice",
            Some(("cs", _)) => "session",
            _ => "intent",
        };
        Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            customer_id: None,
            belongs_to: None,
            payment_intent_id: None,
            amount: 0,
            currency: None,
            status: None,
            failure_code: None,
            paid_at: None,
            created_at: None,
            seen_at: None,
            seen_source: None,
        }
    }

    /// Where this row stands in the order of snapshots: how final its status is, then when it was seen, then how far an
    /// attempt had come within that second, then by which event.
    fn precedence(&self) -> (u8, Option<Timestamp>, u8, Option<&str>) {
        let finality = self.status.as_deref().map_or(0, |status| finality(&self.kind, status));
        let progress = self.status.as_deref().map_or(0, |status| progress(status, self.failure_code.is_some()));
        (finality, self.seen_at, progress, self.seen_source.as_deref())
    }
}

/// How final a status is: a payment that succeeded or was cancelled does not come back.
fn finality(kind: &str, status: &str) -> u8 {
    match (kind, status) {
        (_, "succeeded") => 4,
        (_, "canceled") => 3,
        ("session", "failed") => 2,
        _ => 1,
    }
}

/// How far a payment intent has come from its creation, for snapshots of one second: an attempt begins, is confirmed,
/// may need the buyer, is processed, and may fail, which puts it back where it began. Source: Stripe's page on the
/// life cycle of a PaymentIntent.
fn progress(status: &str, failed: bool) -> u8 {
    match status {
        "requires_payment_method" if failed => 6,
        "requires_capture" => 5,
        "processing" => 4,
        "requires_action" => 3,
        "requires_confirmation" => 2,
        "requires_payment_method" => 1,
        _ => 0,
    }
}

/// Whether a session is a payment of its own, once that became of it.
pub fn is_payment(session: &stripe::CheckoutSession, outcome: SessionOutcome) -> bool {
    let has_begun = !matches!(outcome, SessionOutcome::Open | SessionOutcome::Expired);
    has_begun && session.mode.as_deref() == Some("payment")
}

/// Takes in what became of a Checkout session; says what that is to the buyer's apps. Only a one-off session that made no
/// invoice is a payment of its own: any other is paid by its invoices. It is paid when it says so, or its intent does;
/// one that costs nothing is at once.
pub fn apply_session(
    work: &mut UnitOfWork,
    observation: &Observation,
    session: &stripe::CheckoutSession,
    outcome: SessionOutcome,
) -> Option<PendingEvent> {
    let is_settled = matches!(session.payment_status.as_deref(), Some("paid" | "no_payment_required"));
    let status = match outcome {
        SessionOutcome::Completed if is_settled => "succeeded",
        SessionOutcome::Completed => "pending",
        SessionOutcome::AsyncSucceeded => "succeeded",
        SessionOutcome::AsyncFailed => "failed",
        SessionOutcome::Open | SessionOutcome::Expired => return None,
    };
    if !is_payment(session, outcome) {
        return (status == "failed").then(|| event_of_session(session, PaymentOutcome::Failed));
    }
    let status_was = work.get(&session.id).and_then(|known: &Payment| known.status.clone());
    let mut row = Payment::placeholder(&session.id);
    row.customer_id.clone_from(&session.customer);
    row.belongs_to.clone_from(&session.invoice);
    row.payment_intent_id.clone_from(&session.payment_intent);
    row.amount = session.amount_total.unwrap_or_default();
    row.currency.clone_from(&session.currency);
    row.status = Some(status.to_owned());
    row.paid_at = (status == "succeeded").then_some(observation.seen_at);
    row.created_at = session.created.and_then(from_unix);
    let mut status_is = advance(work, observation, row);
    if let Some(intent) = &session.payment_intent {
        let payee = session.invoice.as_ref().unwrap_or(&session.id);
        link_intent(work, intent, Some(payee), session.customer.as_deref());
        if pay_by_intent(work, &session.id, intent) {
            status_is = Some("succeeded".to_owned());
        }
    }
    match status_is.as_deref() {
        now if now == status_was.as_deref() || session.invoice.is_some() => None,
        Some("succeeded") => Some(event_of_session(session, PaymentOutcome::Succeeded)),
        Some("failed") => Some(event_of_session(session, PaymentOutcome::Failed)),
        _ => None,
    }
}

/// Takes in a snapshot of a payment intent; says what that is to the buyer's apps, where it pays a one-off session.
pub fn apply_intent(
    work: &mut UnitOfWork,
    observation: &Observation,
    intent: &stripe::PaymentIntent,
) -> Option<PendingEvent> {
    let succeeded = intent.status.as_deref() == Some("succeeded");
    let mut row = Payment::placeholder(&intent.id);
    row.customer_id.clone_from(&intent.customer);
    row.payment_intent_id = Some(intent.id.clone());
    row.amount = intent.amount_received.filter(|_| succeeded).unwrap_or(intent.amount);
    row.currency.clone_from(&intent.currency);
    row.status.clone_from(&intent.status);
    row.failure_code.clone_from(&intent.failure_code);
    row.paid_at = succeeded.then_some(observation.seen_at);
    row.created_at = intent.created.and_then(from_unix);
    advance(work, observation, row);
    link_intent(work, &intent.id, intent.invoice.as_deref(), intent.customer.as_deref());
    let is_session = |row: &&Payment| row.kind == "session" && row.payment_intent_id.as_ref() == Some(&intent.id);
    let session = work.all().find(is_session)?.id.clone();
    let paid = pay_by_intent(work, &session, &intent.id);
    let session = work.get::<Payment>(&session).filter(|row| paid && row.belongs_to.is_none())?;
    Some(event(PaymentEventView::of_paid(session)))
}

/// Marks a session as paid whose intent is, with what has come: less than the session asked for where only a part was
/// captured. `false` where it was paid before, or the intent is not.
fn pay_by_intent(work: &mut UnitOfWork, session: &str, intent: &str) -> bool {
    let paid_by = work.get(intent).filter(|intent: &&Payment| intent.status.as_deref() == Some("succeeded"));
    let Some((paid_at, amount)) = paid_by.map(|intent| (intent.paid_at, intent.amount)) else { return false };
    let Some(mut row) = work.get_cloned::<Payment>(session) else { return false };
    let was_paid = row.status.as_deref() == Some("succeeded");
    if was_paid && row.amount == amount {
        return false;
    }
    row.amount = amount;
    if !was_paid {
        row.status = Some("succeeded".to_owned());
        row.paid_at = paid_at;
    }
    work.insert(row);
    !was_paid
}

/// Takes in the payment that a paid invoice is, and which intent pays it.
pub fn apply_invoice(work: &mut UnitOfWork, observation: &Observation, invoice: &stripe::Invoice) {
    if invoice.status == "paid" {
        apply_paid_invoice(work, observation, invoice);
    }
    if let Some(intent) = &invoice.payment_intent {
        link_intent(work, intent, Some(&invoice.id), invoice.customer.as_deref());
    }
}

fn apply_paid_invoice(work: &mut UnitOfWork, observation: &Observation, invoice: &stripe::Invoice) {
    let mut row = Payment::placeholder(&invoice.id);
    row.customer_id.clone_from(&invoice.customer);
    row.payment_intent_id.clone_from(&invoice.payment_intent);
    row.amount = invoice.amount_paid;
    row.currency.clone_from(&invoice.currency);
    row.status = Some("succeeded".to_owned());
    row.paid_at = Some(invoice.paid_at.and_then(from_unix).unwrap_or(observation.seen_at));
    row.created_at = invoice.created.and_then(from_unix);
    advance(work, observation, row);
}

/// Says that `intent` pays `payee`, an invoice or a session, as far as that is known, and who pays.
pub fn link_intent(work: &mut UnitOfWork, intent: &str, payee: Option<&str>, customer: Option<&str>) {
    let payee = charges::name(work, intent, payee, customer);
    // An intent of which no event has come is no payment yet.
    let Some(mut row) = work.get_cloned::<Payment>(intent) else { return };
    let payee = prefer_invoice(row.belongs_to.clone(), payee);
    if row.belongs_to != payee {
        row.belongs_to = payee;
        work.insert(row);
    }
}

/// Puts `next` in the place of what is known, if it is the newer; what only the older one knows is kept. Says the status.
fn advance(work: &mut UnitOfWork, observation: &Observation, mut next: Payment) -> Option<String> {
    next.seen_at = Some(observation.seen_at);
    next.seen_source = Some(observation.source.clone());
    let (mut newer, older) = match work.get_cloned::<Payment>(&next.id) {
        Some(known) if known.precedence() >= next.precedence() => (known, Some(next)),
        known => (next, known),
    };
    if let Some(older) = older {
        newer.belongs_to = prefer_invoice(newer.belongs_to, older.belongs_to);
        newer.customer_id = newer.customer_id.or(older.customer_id);
        newer.payment_intent_id = newer.payment_intent_id.or(older.payment_intent_id);
    }
    let status = newer.status.clone();
    work.insert(newer);
    status
}

fn event_of_session(session: &stripe::CheckoutSession, outcome: PaymentOutcome) -> PendingEvent {
    event(PaymentEventView::of_session(session, outcome))
}

/// What the apps are told of `payment`.
pub fn event(payment: PaymentEventView) -> PendingEvent {
    let event_type = match payment.status {
        PaymentOutcome::Succeeded => EventType::PaymentSucceeded,
        PaymentOutcome::Failed => EventType::PaymentFailed,
    };
    PendingEvent { event_type, data: json!({ "payment": payment }) }
}
