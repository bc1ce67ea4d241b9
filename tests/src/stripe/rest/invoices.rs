//! What calls do with what is billed, paid and given back.

use super::Asked;
use super::refused::{Answer, Refused};
use crate::stripe::Stripe;
use crate::stripe::model::InvoiceStatus;
use crate::stripe::shape::ApiVersion;

impl Stripe {
    pub(super) fn money_called(&mut self, method: &str, path: &[&str], asked: &Asked, version: ApiVersion) -> Answer {
        let is_of = |name: &str, own: Option<&str>| asked.value(name).is_none_or(|wanted| own == Some(wanted));
        match (method, path) {
            ("GET", ["invoices"]) => {
                let theirs = self.invoices.values().filter(|invoice| {
                    is_of("customer", Some(&invoice.customer))
                        && is_of("subscription", invoice.subscription.as_deref())
                        && is_of("status", Some(invoice.status.text()))
                });
                self.list(asked, "/v1/invoices", version, theirs.map(|invoice| (invoice, invoice.created)))
            }
            ("POST", ["invoices", "create_preview"]) => self.preview(asked, version),
            ("GET", ["invoices", id]) => self.show_invoice(id, version),
            ("POST", ["invoices", id]) => {
                let invoice = self.invoices.get(*id).ok_or_else(|| Refused::no_such("invoice", id))?;
                if matches!(invoice.status, InvoiceStatus::Paid | InvoiceStatus::Void) {
                    return Err(no_longer_changed(invoice.status));
                }
                if let Some(does) = asked.value("auto_advance") {
                    self.advance_by_itself(id, does == "true");
                }
                self.show_invoice(id, version)
            }
            ("POST", ["invoices", id, act]) => {
                self.invoice_called(id, act, asked)?;
                self.show_invoice(id, version)
            }
            ("GET", ["invoice_payments"]) => {
                let all = self.invoice_payments.values();
                let theirs = all.filter(|payment| {
                    is_of("invoice", Some(&payment.invoice))
                        && is_of("payment[payment_intent]", Some(&payment.payment_intent))
                });
                self.list(asked, "/v1/invoice_payments", version, theirs.map(|payment| (payment, payment.created)))
            }
            ("GET", ["payment_intents"]) => {
                let all = self.payment_intents.values();
                let theirs = all.filter(|intent| is_of("customer", Some(&intent.customer)));
                self.list(asked, "/v1/payment_intents", version, theirs.map(|intent| (intent, intent.created)))
            }
            ("GET", ["payment_intents", id]) => {
                let found = self.payment_intents.get(*id).ok_or_else(|| Refused::no_such("payment_intent", id))?;
                self.show(Some(found.clone()), version)
            }
            ("GET", ["charges"]) => {
                let theirs = self.charges.values().filter(|charge| {
                    is_of("customer", Some(&charge.customer)) && is_of("payment_intent", Some(&charge.payment_intent))
                });
                self.list(asked, "/v1/charges", version, theirs.map(|charge| (charge, charge.created)))
            }
            ("GET", ["charges", id]) => {
                let found = self.charges.get(*id).ok_or_else(|| Refused::no_such("charge", id))?;
                self.show(Some(found.clone()), version)
            }
            ("GET", ["refunds"]) => {
                let theirs = self.refunds.values().filter(|refund| {
                    is_of("charge", Some(&refund.charge)) && is_of("payment_intent", Some(&refund.payment_intent))
                });
                self.list(asked, "/v1/refunds", version, theirs.map(|refund| (refund, refund.created)))
            }
            ("POST", ["refunds"]) => self.create_refund(asked, version),
            ("GET", ["disputes"]) => {
                let theirs = self.disputes.values();
                self.list(asked, "/v1/disputes", version, theirs.map(|dispute| (dispute, dispute.created)))
            }
            _ => Err(Refused::no_such_call(&asked.call)),
        }
    }

    fn show_invoice(&self, id: &str, version: ApiVersion) -> Answer {
        let found = self.invoices.get(id).ok_or_else(|| Refused::no_such("invoice", id))?;
        self.show(Some(found.clone()), version)
    }

    fn invoice_called(&mut self, id: &str, act: &str, asked: &Asked) -> Result<(), Refused> {
        let invoice = self.invoices.get(id).ok_or_else(|| Refused::no_such("invoice", id))?;
        let is_owed = matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible);
        match act {
            _ if !is_owed => Err(no_longer_changed(invoice.status)),
            // The bank's answer to a debit takes days, and there is one at a time.
            "pay" if invoice.debit.is_some() => {
                Err(Refused::invalid(400, None, "There is a payment of this invoice that is being processed."))
            }
            "pay" => {
                let (customer, method) = (invoice.customer.clone(), asked.value("payment_method"));
                method.map_or(Ok(()), |method| self.card_of(&customer, method))?;
                self.settle(id, method).map_err(Refused::unpaid)
            }
            "void" => {
                self.void(id);
                Ok(())
            }
            "mark_uncollectible" if invoice.status == InvoiceStatus::Open => {
                self.mark_uncollectible(id);
                Ok(())
            }
            _ => Err(Refused::no_such_call(&asked.call)),
        }
    }

    fn create_refund(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let by_charge = || self.charges.get(asked.value("charge")?).map(|charge| charge.payment_intent.clone());
        let intent = asked.value("payment_intent").map(str::to_owned).or_else(by_charge);
        let intent = intent.filter(|id| self.payment_intents.contains_key(id));
        let intent = intent.ok_or_else(|| Refused::needs("payment_intent"))?;
        let left = self.refundable(&intent);
        let amount = asked.value("amount").and_then(|amount| amount.parse().ok()).unwrap_or(left);
        if left == 0 || amount > left {
            return Err(Refused::invalid(400, Some("charge_already_refunded"), "There is not so much left to refund."));
        }
        let id = self.refund(&intent, amount);
        self.show(self.refunds.get(&id).cloned(), version)
    }

    fn preview(&self, asked: &Asked, version: ApiVersion) -> Answer {
        let id = asked.value("subscription").ok_or_else(|| Refused::needs("subscription"))?;
        self.running(id)?;
        let changes = self.asked_changes(id, asked, "subscription_details")?;
        let (prorated, at) = self.asked_proration(id, asked, "subscription_details")?;
        let [due, renewal] = self.preview_of_change(id, &changes, prorated, at);
        self.show(Some(if asked.value("preview_mode") == Some("recurring") { renewal } else { due }), version)
    }
}

fn no_longer_changed(status: InvoiceStatus) -> Refused {
    Refused::invalid(400, None, &format!("This invoice is {} and can no longer be changed.", status.text()))
}
