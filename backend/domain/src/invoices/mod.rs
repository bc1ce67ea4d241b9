//! Invoices: they only move forward, draft < open < uncollectible < void or paid, and their attempts never fall.

pub mod history;
pub mod view;

use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::events::PendingEvent;
use crate::payments;
use crate::payments::view::PaymentOutcome;
use tollgate_db::{UnitOfWork, record};
use tollgate_stripe::{self as stripe, Observation};

record! {
    /// A row of `invoices`.
    pub struct Invoice in "invoices" {
        /// `in_…`
        pub id: String,
        /// Who owes.
        pub customer_id: Option<String>,
        /// What for.
        pub subscription_id: Option<String>,
        /// Stripe's status.
        pub status: String,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// In the currency's minor unit.
        pub amount_due: i64,
        /// In the currency's minor unit.
        pub amount_paid: i64,
        /// How often a payment was tried.
        pub attempts: i64,
        /// When Stripe tries next; null for no more.
        pub next_attempt_at: Option<Timestamp>,
        /// The number on the invoice.
        pub number: Option<String>,
        /// Where the payer sees it.
        pub hosted_invoice_url: Option<String>,
        /// Where the payer gets it as a PDF.
        pub invoice_pdf: Option<String>,
        /// When Stripe made it.
        pub created_at: Option<Timestamp>,
        /// When it was paid.
        pub paid_at: Option<Timestamp>,
        /// When its payment first failed.
        pub first_failed_at: Option<Timestamp>,
        /// When the snapshot that counts was made.
        pub seen_at: Timestamp,
        /// That snapshot's own count of attempts.
        pub seen_attempts: i64,
        /// That snapshot's event.
        pub seen_source: String,
        /// The connected account whose invoice it is; none for our own.
        pub account: Option<String>,
        /// Whether its money is real.
        pub livemode: Option<bool>,
        /// When it is to be paid, of one that is sent and not charged.
        pub due_at: Option<Timestamp>,
        /// How many attempts are known to have failed: the count of the last one that did.
        pub failed_attempts: i64,
        /// When that was.
        pub last_failed_at: Option<Timestamp>,
        /// The pod that its subscription pays into, by its own word.
        pub pod_id: Option<String>,
        /// When its payer was last said to have to confirm the payment.
        pub action_required_at: Option<Timestamp>,
        /// Whether it is the first of its subscription, which is paid where that is begun: at the checkout, as a rule.
        pub is_first: bool,
    }
}

/// How far along an invoice is. A status that we do not know is behind all others: it moves nothing.
fn progress(status: &str) -> i8 {
    match status {
        "draft" => 0,
        "open" => 1,
        "uncollectible" => 2,
        "void" => 3,
        "paid" => 4,
        _ => -1,
    }
}

impl Invoice {
    /// A row of which only the name is known: whatever comes is newer.
    pub fn placeholder(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            customer_id: None,
            subscription_id: None,
            status: String::new(),
            currency: None,
            amount_due: 0,
            amount_paid: 0,
            attempts: 0,
            next_attempt_at: None,
            number: None,
            hosted_invoice_url: None,
            invoice_pdf: None,
            created_at: None,
            paid_at: None,
            first_failed_at: None,
            seen_at: Timestamp::UNIX_EPOCH,
            seen_attempts: 0,
            seen_source: String::new(),
            account: None,
            livemode: None,
            due_at: None,
            failed_attempts: 0,
            last_failed_at: None,
            pod_id: None,
            action_required_at: None,
            is_first: false,
        }
    }

    fn of(observation: &Observation, state: &stripe::Invoice) -> Self {
        Self {
            id: state.id.clone(),
            customer_id: state.customer.clone(),
            subscription_id: state.subscription.clone(),
            status: state.status.clone(),
            currency: state.currency.clone(),
            amount_due: state.amount_due,
            amount_paid: state.amount_paid,
            attempts: state.attempt_count,
            next_attempt_at: state.next_payment_attempt.and_then(from_unix),
            number: state.number.clone(),
            hosted_invoice_url: state.hosted_invoice_url.clone(),
            invoice_pdf: state.invoice_pdf.clone(),
            created_at: state.created.and_then(from_unix),
            paid_at: state.paid_at.and_then(from_unix),
            first_failed_at: None,
            seen_at: observation.seen_at,
            seen_attempts: state.attempt_count,
            seen_source: observation.source.clone(),
            account: observation.account.clone(),
            livemode: observation.livemode,
            due_at: state.due_date.and_then(from_unix),
            failed_attempts: 0,
            last_failed_at: None,
            pod_id: state.pod.pod_id.clone(),
            action_required_at: state.needs_action.then_some(observation.seen_at),
            is_first: state.billing_reason.as_deref() == Some("subscription_create"),
        }
    }

    /// The order of an invoice's snapshots.
    fn precedence(&self) -> (i8, Timestamp, i64, &str) {
        (progress(&self.status), self.seen_at, self.seen_attempts, &self.seen_source)
    }

    /// What two snapshots of one invoice amount to, whichever came first.
    fn merge(self, other: Self) -> Self {
        let other_is_newer = other.precedence() > self.precedence();
        let (newer, older) = if other_is_newer { (other, self) } else { (self, other) };
        Self {
            attempts: newer.attempts.max(older.attempts),
            customer_id: newer.customer_id.or(older.customer_id),
            subscription_id: newer.subscription_id.or(older.subscription_id),
            first_failed_at: newer.first_failed_at.into_iter().chain(older.first_failed_at).min(),
            failed_attempts: newer.failed_attempts.max(older.failed_attempts),
            last_failed_at: newer.last_failed_at.max(older.last_failed_at),
            pod_id: newer.pod_id.or(older.pod_id),
            action_required_at: newer.action_required_at.max(older.action_required_at),
            is_first: newer.is_first || older.is_first,
            account: newer.account.max(older.account),
            livemode: newer.livemode.max(older.livemode),
            ..newer
        }
    }
}

/// Since when an invoice could not be collected: its first failed attempt, else when it was due.
pub fn failing_since(work: &UnitOfWork, id: &str) -> Option<Timestamp> {
    let invoice: &Invoice = work.get(id)?;
    invoice.first_failed_at.or(invoice.due_at)
}

/// Takes in a snapshot of an invoice; says what that is to the payer's apps. `failed` is Stripe's word that a payment of
/// it just failed.
pub fn apply(
    work: &mut UnitOfWork,
    observation: &Observation,
    state: &stripe::Invoice,
    failed: bool,
) -> Option<PendingEvent> {
    let known: Option<Invoice> = work.get_cloned(&state.id);
    let (was_paid, attempts_were) = known.as_ref().map_or((false, 0), |row| (row.status == "paid", row.attempts));
    let mut next = Invoice::of(observation, state);
    if failed {
        next.first_failed_at = Some(observation.seen_at);
        next.last_failed_at = next.first_failed_at;
        next.failed_attempts = state.attempt_count;
    }
    let row = match known {
        Some(known) => known.merge(next),
        None => next,
    };
    work.insert(row.clone());
    let outcome = match (was_paid, &*row.status) {
        (false, "paid") => PaymentOutcome::Succeeded,
        (false, "draft" | "open") if failed && row.attempts > attempts_were => PaymentOutcome::Failed,
        _ => return None,
    };
    Some(payments::event(view::payment(&row, outcome)))
}
