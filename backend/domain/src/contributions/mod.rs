//! Contributions: what a membership owes or has paid, one for each invoice over 0, counted once whoever tells of it first.
//!
//! An invoice makes one, and so does a payment that the company itself reports (`POST /v1/payments`). Where both tell of
//! the same money they are one: a report names an invoice or a payment intent, and the intent's [`Charge`] says which
//! invoice it pays, as soon as anything has told that.

pub mod history;
pub mod reported;
mod store;
pub mod tries;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{Json, UnitOfWork, record};
use tollgate_shared::Timestamp;

use crate::charges::failures::Failures;
use crate::charges::{self, Charge};
use crate::contributions::tries::Try;
use crate::invoices::Invoice;

pub use self::store::{Due, due, of_membership, of_reference};

record! {
    /// A row of `contributions`.
    pub struct Contribution in "contributions" references "memberships" {
        /// `con_…`
        pub id: String,
        /// Whose it is.
        pub membership_id: String,
        /// What it is paid into.
        pub pod_id: String,
        /// The member.
        pub user_id: String,
        /// `in_…`, once an invoice is known.
        pub invoice_id: Option<String>,
        /// `pi_…` or `ch_…` that a report names, or that is known to pay the invoice.
        pub reference: Option<String>,
        /// What is owed, in the currency's minor unit.
        pub amount: i64,
        /// What was paid of it.
        pub amount_paid: i64,
        /// ISO 4217, lower case.
        pub currency: String,
        /// What is counted by, as in [`ContributionStatus`].
        pub status: String,
        /// The invoice's own status.
        pub invoice_status: Option<String>,
        /// What was reported of it, the furthest.
        pub reported_status: Option<String>,
        /// When it is owed.
        pub due_at: Timestamp,
        /// When it was paid.
        pub paid_at: Option<Timestamp>,
        /// How often a payment was tried.
        pub attempts: i64,
        /// When it is tried next, by Stripe or by us.
        pub next_attempt_at: Option<Timestamp>,
        /// When its payment first failed.
        pub first_failed_at: Option<Timestamp>,
        /// Why the last one failed.
        pub failure_code: Option<String>,
        /// What was given back of it, by the charge that it was given back of.
        pub given_back: Json<BTreeMap<String, i64>>,
        /// The sum of that.
        pub refunded: i64,
        /// When we first heard of it.
        pub created_at: Timestamp,
        /// How many attempts are known to have failed.
        pub failed_attempts: i64,
        /// When the last one did.
        pub last_failed_at: Option<Timestamp>,
        /// When its payer asked for it to be paid once more.
        pub asked_at: Json<Vec<Timestamp>>,
        /// Until when such an attempt, or one of ours, may be in flight.
        pub asking_until: Option<Timestamp>,
        /// Since when the last attempt that its payer asked for, or that we made, is under way.
        pub asked_since: Option<Timestamp>,
        /// Our own tries.
        pub tries: Json<Vec<Try>>,
        /// Whether Stripe has not answered the last of them.
        pub is_trying: bool,
        /// Why attempts failed, by payment method.
        pub failures: Json<Failures>,
        /// When Stripe confirmed that it tries no more by itself.
        pub schedule_ended_at: Option<Timestamp>,
        /// When something is to be done about it, as in [`Step`](tries::Step).
        pub step_at: Option<Timestamp>,
    }
}

record! {
    /// A row of `reported_payments`: what the company itself told of a payment.
    pub struct ReportedPayment in "reported_payments" references "contributions" {
        /// `pi_…`, `in_…` or `ch_…`
        pub id: String,
        /// What it is a part of.
        pub contribution_id: String,
        /// Whose it is.
        pub membership_id: String,
        /// What was paid, in the currency's minor unit.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: String,
        /// `pending`, `failed`, `succeeded` or `refunded`; it only moves forward.
        pub status: String,
        /// When it was first told.
        pub first_at: Timestamp,
        /// When it was told to have failed.
        pub failed_at: Option<Timestamp>,
        /// When it was told to have succeeded.
        pub succeeded_at: Option<Timestamp>,
    }
}

/// What became of a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContributionStatus {
    /// Nothing was tried yet.
    Due,
    /// A payment is under way: a bank debit takes days. In no total, and no failure.
    Pending,
    /// The last payment failed: overdue.
    Failed,
    /// Paid.
    Succeeded,
    /// No longer owed.
    Void,
    /// Overdue, and given up by the company.
    Uncollectible,
    /// Paid, and all of it given back.
    Refunded,
}

impl ContributionStatus {
    const ALL: [Self; 7] =
        [Self::Due, Self::Pending, Self::Failed, Self::Succeeded, Self::Void, Self::Uncollectible, Self::Refunded];

    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::Void => "void",
            Self::Uncollectible => "uncollectible",
            Self::Refunded => "refunded",
        }
    }

    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether it was paid once, given back or not.
    pub fn was_paid(self) -> bool {
        matches!(self, Self::Succeeded | Self::Refunded)
    }

    /// Whether it should have been paid and was not.
    pub fn is_overdue(self) -> bool {
        matches!(self, Self::Failed | Self::Uncollectible)
    }
}

/// The [`progress`] of what was paid.
const PAID: u8 = 3;

/// How far along what is reported of a payment is; what we do not know is not along at all.
pub fn progress(reported: &str) -> u8 {
    match reported {
        "pending" => 1,
        "failed" => 2,
        "succeeded" => 3,
        "refunded" => 4,
        _ => 0,
    }
}

impl Contribution {
    /// One of a membership, of which nothing is known yet.
    pub fn new(work: &UnitOfWork, (membership_id, pod_id, user_id): (&str, &str, &str), currency: &str) -> Self {
        Self {
            id: work.new_id("con"),
            membership_id: membership_id.to_owned(),
            pod_id: pod_id.to_owned(),
            user_id: user_id.to_owned(),
            invoice_id: None,
            reference: None,
            amount: 0,
            amount_paid: 0,
            currency: currency.to_owned(),
            status: ContributionStatus::Due.name().to_owned(),
            invoice_status: None,
            reported_status: None,
            due_at: work.now(),
            paid_at: None,
            attempts: 0,
            next_attempt_at: None,
            first_failed_at: None,
            failure_code: None,
            given_back: Json(BTreeMap::new()),
            refunded: 0,
            created_at: work.now(),
            failed_attempts: 0,
            last_failed_at: None,
            asked_at: Json(vec![]),
            asking_until: None,
            asked_since: None,
            tries: Json(vec![]),
            is_trying: false,
            failures: Json(Failures::default()),
            schedule_ended_at: None,
            step_at: None,
        }
    }

    /// What became of it.
    pub fn status(&self) -> ContributionStatus {
        ContributionStatus::named(&self.status).unwrap_or(ContributionStatus::Due)
    }

    /// Whether it stands for anything: one whose reports have moved to its invoice's does not.
    pub fn counts(&self) -> bool {
        self.invoice_id.is_some() || self.reported_status.is_some()
    }

    /// How often its payment was tried: by Stripe, which leaves out what its payer asked for and what we tried, and so.
    pub fn attempts_in_all(&self) -> i64 {
        self.attempts.saturating_add((self.asked_at.len() + self.tries_answered()) as i64)
    }

    /// What of it is in the pot.
    pub fn in_pot(&self) -> i64 {
        if self.status().was_paid() { self.amount_paid.saturating_sub(self.refunded).max(0) } else { 0 }
    }

    /// Takes in how its invoice is.
    pub fn take_invoice(&mut self, invoice: &Invoice) {
        self.invoice_id = Some(invoice.id.clone());
        self.invoice_status = Some(invoice.status.clone());
        self.amount = invoice.amount_due;
        self.amount_paid = invoice.amount_paid;
        self.currency = invoice.currency.clone().unwrap_or_else(|| self.currency.clone());
        self.due_at = invoice.due_at.or(invoice.created_at).unwrap_or(self.due_at);
        self.paid_at = invoice.paid_at.or(Some(invoice.seen_at)).filter(|_| invoice.status == "paid");
        self.attempts = invoice.attempts;
        self.failed_attempts = invoice.failed_attempts;
        self.next_attempt_at = invoice.next_attempt_at.filter(|_| invoice.status == "open");
        self.first_failed_at = invoice.first_failed_at;
        self.last_failed_at = invoice.last_failed_at;
    }

    /// Sets all that follows from the invoice, as it was taken in, from what was reported, and from what was given back.
    pub fn settle(&mut self, work: &UnitOfWork) {
        let of_this = |report: &&ReportedPayment| report.contribution_id == self.id;
        let reports: Vec<&ReportedPayment> = work.all().filter(of_this).collect();
        let furthest = reports.iter().max_by_key(|report| (progress(&report.status), &report.id));
        self.reported_status = furthest.map(|report| report.status.clone());
        if let Some(report) = furthest.filter(|_| self.invoice_status.is_none()) {
            (self.amount, self.currency) = (report.amount, report.currency.clone());
            self.due_at = reports.iter().map(|report| report.first_at).min().unwrap_or(self.due_at);
        }
        let was_reported = self.reported_status.as_deref().is_some_and(|status| progress(status) >= PAID);
        let is_paid_at_stripe = self.invoice_status.as_deref() == Some("paid");
        if !is_paid_at_stripe {
            self.amount_paid = furthest.filter(|_| was_reported).map_or(0, |report| report.amount);
            self.paid_at = reports.iter().filter_map(|report| report.succeeded_at).min();
            if let Some(failed_at) = reports.iter().filter_map(|report| report.failed_at).min() {
                self.first_failed_at = self.first_failed_at.into_iter().chain([failed_at]).min();
                self.attempts = self.attempts.max(1);
                self.failed_attempts = self.failed_attempts.max(1);
            }
        }
        let reported = reports.iter().map(|report| &report.id).find(|id| !id.starts_with("in_")).cloned();
        self.reference = reported.or_else(|| self.paying_intent(work)).or(self.reference.take());
        self.give_back(work, &reports);
        self.learn_failures(work);
        self.settle_try();
        let status = self.judge(is_paid_at_stripe || was_reported);
        status.name().clone_into(&mut self.status);
        self.failure_code = self.failures.last().map(|last| last.code.clone()).filter(|_| status.is_overdue());
    }

    fn judge(&self, was_paid: bool) -> ContributionStatus {
        let reported = self.reported_status.as_deref();
        if was_paid {
            let is_given_back = self.amount_paid > 0 && self.refunded >= self.amount_paid;
            return if is_given_back { ContributionStatus::Refunded } else { ContributionStatus::Succeeded };
        }
        match self.invoice_status.as_deref() {
            Some("void") => ContributionStatus::Void,
            Some("uncollectible") => ContributionStatus::Uncollectible,
            _ if reported == Some("pending") || self.is_under_way() => ContributionStatus::Pending,
            _ if self.first_failed_at.is_some() => ContributionStatus::Failed,
            _ => ContributionStatus::Due,
        }
    }

    /// Whether an attempt is not known to have ended.
    fn is_under_way(&self) -> bool {
        let asked = self.asked_since.is_some_and(|asked| self.last_failed_at.is_none_or(|failed| failed < asked));
        asked || self.attempts > self.failed_attempts
    }

    /// Takes in what was given back of it, as far as its charges are here.
    fn give_back(&mut self, work: &UnitOfWork, reports: &[&ReportedPayment]) {
        let by_reports = reports.iter().filter_map(|report| work.get::<Charge>(&report.id));
        let of_invoice = self.invoice_id.as_deref().into_iter().flat_map(|id| charges::of_payee(work, id));
        for charge in by_reports.chain(of_invoice) {
            self.given_back.insert(charge.id.clone(), charge.refunded);
        }
        let by_charges = self.given_back.values().fold(0_i64, |sum, refunded| sum.saturating_add(*refunded));
        // The company says that all of it went back, and Stripe may not know.
        let is_said = reports.iter().any(|report| report.status == "refunded");
        self.refunded = if is_said { self.amount_paid.max(by_charges) } else { by_charges };
    }

    /// Takes in why attempts at its invoice failed, as far as its charges are here.
    fn learn_failures(&mut self, work: &UnitOfWork) {
        for charge in self.invoice_id.as_deref().into_iter().flat_map(|id| charges::of_payee(work, id)) {
            self.failures.merge(&charge.failures);
        }
    }

    /// The intent that is known to pay its invoice.
    fn paying_intent(&self, work: &UnitOfWork) -> Option<String> {
        let charges = charges::of_payee(work, self.invoice_id.as_deref()?);
        charges.map(|charge| &charge.id).filter(|id| id.starts_with("pi_")).max().cloned()
    }
}

#[cfg(test)]
mod tests;
