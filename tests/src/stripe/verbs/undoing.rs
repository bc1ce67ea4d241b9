//! Money that goes back: refunds, and charges that the cardholder's bank takes back.

use crate::stripe::model::{Charge, Dispute, Refund, RefundStatus};
use crate::stripe::{DAY, Stripe};

impl Stripe {
    /// Gives `amount` of a payment back.
    pub fn refund(&mut self, intent: &str, amount: i64) -> String {
        let charge = self.paid_charge(intent);
        let refund = Refund {
            id: self.ids.long("re"),
            charge: charge.id.clone(),
            payment_intent: intent.to_owned(),
            amount,
            currency: charge.currency.clone(),
            status: RefundStatus::Succeeded,
            created: self.now,
        };
        let id = refund.id.clone();
        self.refunds.insert(id.clone(), refund.clone());
        self.emit("refund.created", refund);
        self.change_charge("charge.refunded", &charge.id, |charge| charge.amount_refunded += amount);
        id
    }

    /// Gives what is left of a payment back.
    pub fn refund_in_full(&mut self, intent: &str) -> String {
        let charge = self.paid_charge(intent);
        self.refund(intent, charge.amount - charge.amount_refunded)
    }

    /// The buyer's bank would not take a refund: the money is the merchant's again. The charge says so too, but by no
    /// event that is about refunds.
    pub fn refund_fails(&mut self, refund: &str) {
        let refund = self.refunds.get_mut(refund).expect("only a refund that is there fails");
        let before = refund.clone();
        refund.status = RefundStatus::Failed;
        let after = refund.clone();
        self.change_charge("charge.updated", &after.charge, |charge| charge.amount_refunded -= after.amount);
        self.emit_change("refund.updated", before.clone(), after.clone());
        self.emit_change("refund.failed", before, after);
    }

    /// The cardholder disputes a payment, and wins.
    pub fn lose_dispute(&mut self, intent: &str) {
        let charge = self.paid_charge(intent);
        let mut dispute = Dispute {
            id: self.ids.long("du"),
            charge: charge.id,
            payment_intent: intent.to_owned(),
            amount: charge.amount,
            currency: charge.currency,
            status: "needs_response",
            created: self.now,
        };
        self.emit("charge.dispute.created", dispute.clone());
        self.pass(40 * DAY);
        dispute.status = "lost";
        self.disputes.insert(dispute.id.clone(), dispute.clone());
        self.emit("charge.dispute.closed", dispute);
    }

    /// What is left of a payment, in minor units.
    pub fn refundable(&self, intent: &str) -> i64 {
        let disputed = self.disputes.values().any(|dispute| dispute.payment_intent == intent);
        let paid = self.charges.values().filter(|charge| charge.payment_intent == intent && charge.paid && !disputed);
        paid.map(|charge| charge.amount - charge.amount_refunded).sum()
    }

    fn paid_charge(&self, intent: &str) -> Charge {
        let paid = self.charges.values().find(|charge| charge.payment_intent == intent && charge.paid);
        paid.cloned().expect("only what was paid goes back")
    }

    fn change_charge(&mut self, event_type: &'static str, id: &str, change: impl FnOnce(&mut Charge)) {
        let charge = self.charges.get_mut(id).expect("a refund is of a charge that is there");
        let before = charge.clone();
        change(charge);
        let after = charge.clone();
        self.emit_change(event_type, before, after);
    }
}
