//! What Stripe does by itself as time goes by: periods begin, trials end, what is owed is tried again and given up.

use super::lifecycle::DRAFT_SECONDS;
use crate::stripe::model::{InvoiceStatus, Status, Subscription};
use crate::stripe::{DAY, Stripe};

/// How long before its end a trial is announced.
const TRIAL_WARNING: i64 = 3 * DAY;
/// How long the first payment is waited for.
const FIRST_PAYMENT: i64 = 23 * 3600;

/// Something that happens at its time, in this order where several have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    SessionExpires(String),
    TrialWillEnd(String),
    FirstPaymentExpires(String),
    PendingUpdateExpires(String),
    Ends(String),
    Draft(String),
    DebitIsKnown(String),
    Retry(String),
    Period(String),
}

impl Stripe {
    /// Lets `seconds` go by, with all that Stripe does by itself meanwhile, each thing at its time.
    pub fn advance(&mut self, seconds: i64) -> &mut Self {
        self.advance_to(self.now + seconds)
    }

    /// The same until `then`; back it does not go.
    pub fn advance_to(&mut self, then: i64) -> &mut Self {
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= then) {
            self.now = self.now.max(at);
            self.falls_due(due);
        }
        self.now = self.now.max(then);
        self
    }

    /// When something happens by itself next, if anything ever does.
    pub fn next_due_at(&self) -> Option<i64> {
        self.next_due().map(|(at, _)| at)
    }

    fn next_due(&self) -> Option<(i64, Due)> {
        let open = self.sessions.values().filter(|session| session.status == "open" && session.opened.url.is_some());
        let sessions = open.map(|session| (session.expires_at(), Due::SessionExpires(session.id.clone())));
        let running = self.subscriptions.values().filter(|subscription| !subscription.status.is_final());
        let subscriptions = running.flat_map(|subscription| self.due_of(subscription));
        let invoices = self.invoices.values().filter_map(|invoice| {
            let id = invoice.id.clone();
            if let Some((_, at)) = &invoice.debit {
                return Some((*at, Due::DebitIsKnown(id)));
            }
            let running = |id: &String| self.subscriptions.get(id).is_some_and(|it| !it.status.is_final());
            invoice.subscription.as_ref().filter(|id| running(id))?;
            match invoice.status {
                InvoiceStatus::Draft if invoice.auto_advance => Some((invoice.created + DRAFT_SECONDS, Due::Draft(id))),
                InvoiceStatus::Open => invoice.next_payment_attempt.map(|at| (at, Due::Retry(id))),
                _ => None,
            }
        });
        sessions.chain(subscriptions).chain(invoices).min()
    }

    fn due_of(&self, subscription: &Subscription) -> Vec<(i64, Due)> {
        let id = &subscription.id;
        let mut due = Vec::new();
        if subscription.status == Status::Incomplete {
            return vec![(subscription.created + FIRST_PAYMENT, Due::FirstPaymentExpires(id.clone()))];
        }
        due.extend(subscription.cancel_at.map(|at| (at, Due::Ends(id.clone()))));
        let pending = subscription.pending_update.as_ref();
        due.extend(pending.map(|pending| (pending.expires_at, Due::PendingUpdateExpires(id.clone()))));
        let trial = subscription.trial.filter(|_| subscription.status == Status::Trialing);
        if let Some(trial) = trial.filter(|trial| !self.announced_trials.contains(&(id.clone(), trial.end))) {
            due.push(((trial.end - TRIAL_WARNING).max(trial.start), Due::TrialWillEnd(id.clone())));
        }
        if subscription.status != Status::Paused {
            due.push((subscription.items[0].period.end, Due::Period(id.clone())));
        }
        due
    }

    fn falls_due(&mut self, due: Due) {
        match due {
            Due::SessionExpires(session) => self.expire_session(&session),
            Due::TrialWillEnd(subscription) => {
                let end = self.subscriptions[&subscription].trial.map_or(self.now, |trial| trial.end);
                self.announced_trials.insert((subscription.clone(), end));
                self.trial_will_end(&subscription);
            }
            Due::FirstPaymentExpires(subscription) => self.first_payment_expires(&subscription),
            Due::PendingUpdateExpires(subscription) => self.give_up_pending_update(&subscription),
            Due::Ends(subscription) => self.cancel(&subscription),
            Due::Period(subscription) => {
                let start = self.subscriptions[&subscription].items[0].period.end;
                let invoice = self.begin_period_at(&subscription, start);
                if self.subscriptions[&subscription].status == Status::Unpaid
                    && let Some(invoice) = self.invoices.get_mut(&invoice)
                {
                    invoice.auto_advance = false;
                }
            }
            Due::Draft(invoice) => {
                self.finalize(&invoice);
                self.collect(&invoice);
            }
            Due::DebitIsKnown(invoice) => self.debit_is_known(&invoice),
            Due::Retry(invoice) => self.collect(&invoice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::catalogue::PRO_MONTHLY;
    use crate::stripe::model::{Invoice, Metadata};
    use crate::stripe::{Checkout, GiveUp};

    const MONTH: i64 = 30 * DAY;

    fn subscribed(trial_days: Option<i64>) -> (Stripe, String, String) {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let order = Checkout { trial_days, ..Checkout::of(&PRO_MONTHLY) };
        let (subscription, _) = stripe.checkout(&customer, &order);
        (stripe, customer, subscription)
    }

    fn latest<'a>(stripe: &'a Stripe, subscription: &str) -> &'a Invoice {
        &stripe.invoices[&stripe.latest_invoice(subscription)]
    }

    fn types_after(stripe: &Stripe, first: usize) -> Vec<&'static str> {
        let told = ["customer.subscription.", "invoice.pa", "invoice.created"];
        let types = stripe.occurrences[first..].iter().map(|occurrence| occurrence.event_type);
        types.filter(|event_type| told.iter().any(|start| event_type.starts_with(start))).collect()
    }

    #[test]
    fn a_year_is_paid_for_month_by_month() {
        let (mut stripe, customer, subscription) = subscribed(None);
        let begun = stripe.now;
        stripe.advance(365 * DAY);
        let paid = stripe.invoices.values().filter(|invoice| invoice.status == InvoiceStatus::Paid).count();
        assert_eq!((paid, stripe.now), (13, begun + 365 * DAY), "the first one, and twelve more");
        assert_eq!(stripe.subscriptions[&subscription].items[0].period.start, begun + 12 * MONTH);
        assert_eq!(stripe.expected(&customer)["payments"]["totals"]["usd"], 13 * 2900);
    }

    #[test]
    fn a_renewal_is_a_draft_for_an_hour_and_then_paid() {
        let (mut stripe, _, subscription) = subscribed(None);
        stripe.advance(MONTH);
        assert_eq!(latest(&stripe, &subscription).status, InvoiceStatus::Draft);
        stripe.advance(DRAFT_SECONDS);
        assert_eq!(latest(&stripe, &subscription).status, InvoiceStatus::Paid);
    }

    #[test]
    fn a_trial_is_announced_ends_and_is_paid_for() {
        let (mut stripe, _, subscription) = subscribed(Some(14));
        let first = stripe.occurrences.len();
        stripe.advance(14 * DAY + DRAFT_SECONDS);
        let expected = [
            "customer.subscription.trial_will_end",
            "customer.subscription.updated",
            "invoice.created",
            "invoice.paid",
            "invoice.payment_succeeded",
        ];
        assert_eq!(types_after(&stripe, first), expected);
        assert_eq!(stripe.subscriptions[&subscription].status, Status::Active);
        assert_eq!(latest(&stripe, &subscription).amount_paid, 2900);
    }

    #[test]
    fn what_is_not_paid_is_tried_four_times_and_given_up() {
        for (gives_up, status) in [
            (GiveUp::Cancel, Status::Canceled),
            (GiveUp::Unpaid, Status::Unpaid),
            (GiveUp::Pause, Status::Paused),
            (GiveUp::StayPastDue, Status::PastDue),
        ] {
            let (mut stripe, customer, subscription) = subscribed(None);
            stripe.gives_up = gives_up;
            stripe.change_card(&customer, "visa", "0341");
            stripe.advance(MONTH + DRAFT_SECONDS);
            assert_eq!(stripe.subscriptions[&subscription].status, Status::PastDue);
            let owed = stripe.latest_invoice(&subscription);
            stripe.advance(14 * DAY);
            assert_eq!(stripe.invoices[&owed].attempt_count, 3);
            stripe.advance(DAY);
            assert_eq!(stripe.invoices[&owed].attempt_count, 4);
            assert_eq!(stripe.invoices[&owed].next_payment_attempt, None);
            assert_eq!(stripe.subscriptions[&subscription].status, status, "{gives_up:?}");
        }
    }

    #[test]
    fn another_card_pays_at_the_next_attempt() {
        let (mut stripe, customer, subscription) = subscribed(None);
        stripe.change_card(&customer, "visa", "9995");
        stripe.advance(MONTH + DRAFT_SECONDS);
        stripe.change_card(&customer, "visa", "4242");
        stripe.advance(3 * DAY);
        let paid = latest(&stripe, &subscription);
        assert_eq!((paid.status, paid.attempt_count), (InvoiceStatus::Paid, 2));
        assert_eq!(stripe.subscriptions[&subscription].status, Status::Active);
    }

    #[test]
    fn what_was_canceled_ends_with_its_period() {
        let (mut stripe, _, subscription) = subscribed(None);
        let end = stripe.subscriptions[&subscription].items[0].period.end;
        stripe.advance(DAY).schedule_cancel(&subscription);
        stripe.advance(MONTH);
        let ended = &stripe.subscriptions[&subscription];
        assert_eq!((ended.status, ended.ended_at), (Status::Canceled, Some(end)));
        assert_eq!(stripe.invoices.len(), 1, "and is not paid for again");
        assert_eq!(stripe.next_due_at(), None);
    }

    #[test]
    fn what_is_begun_and_not_paid_expires_after_a_day() {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let subscription = stripe.subscribe(&customer, &[&PRO_MONTHLY], 1, Metadata::new(), None);
        stripe.advance(DAY);
        assert_eq!(stripe.subscriptions[&subscription].status, Status::IncompleteExpired);
        assert_eq!(latest(&stripe, &subscription).status, InvoiceStatus::Void);
    }
}
