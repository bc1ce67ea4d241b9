//! Customers, cards, payments and sessions.

use serde_json::{Value, json};

use super::ApiVersion;
use crate::stripe::model::{
    BANK_ACCOUNT, Charge, CheckoutSession, Customer, Dispute, Failed, InvoicePayment, Mode, PaymentIntent,
    PaymentMethod, Refund, RefundStatus,
};

/// A customer's id; null for whoever pays without becoming one.
fn somebody(customer: &str) -> Option<&str> {
    Some(customer).filter(|customer| !customer.is_empty())
}

pub(super) fn customer(customer: &Customer) -> Value {
    json!({
        "id": customer.id,
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": customer.created,
        "currency": customer.currency,
        "default_source": customer.default_source,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": customer.email,
        "invoice_prefix": "A1B2C3D4",
        "invoice_settings": {
            "custom_fields": null,
            "default_payment_method": customer.default_payment_method,
            "footer": null,
            "rendering_options": null,
        },
        "metadata": customer.metadata,
        "name": customer.name,
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    })
}

pub(super) fn payment_method(method: &PaymentMethod) -> Value {
    if method.kind() == BANK_ACCOUNT {
        return bank_account(method);
    }
    json!({
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "always",
        "billing_details": {
            "address": { "city": null, "country": "US", "line1": null, "line2": null, "postal_code": "94107", "state": null },
            "email": null,
            "name": null,
            "phone": null,
        },
        "card": {
            "brand": method.brand,
            "checks": { "address_line1_check": null, "address_postal_code_check": "pass", "cvc_check": "pass" },
            "country": "US",
            "display_brand": method.brand,
            "exp_month": 4,
            "exp_year": method.exp_year,
            "fingerprint": "mToisGZ01V71BCos",
            "funding": "credit",
            "generated_from": null,
            "last4": method.last4,
            "networks": { "available": [method.brand], "preferred": null },
            "three_d_secure_usage": { "supported": true },
            "wallet": null,
        },
        "created": method.created,
        "customer": method.customer,
        "metadata": {},
        "type": "card",
    })
}

fn bank_account(method: &PaymentMethod) -> Value {
    json!({
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "always",
        "billing_details": { "address": null, "email": null, "name": "Ada", "phone": null },
        "created": method.created,
        "customer": method.customer,
        "metadata": {},
        "type": BANK_ACCOUNT,
        "us_bank_account": {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "fingerprint": "JzG8mDSi4wJ9",
            "last4": method.last4,
            "routing_number": "110000000",
        },
    })
}

pub(super) fn payment_intent(intent: &PaymentIntent, version: ApiVersion) -> Value {
    let error = intent.failure.as_ref().map(|Failed { code, decline_code, method }| {
        let method = method.as_ref().map(|(id, kind)| json!({ "id": id, "object": "payment_method", "type": kind }));
        json!({
            "type": "card_error",
            "code": code,
            "decline_code": decline_code,
            "doc_url": format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-")),
            "message": "This payment did not work.",
            "payment_method": method,
        })
    });
    let mut json = json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "amount_received": intent.amount_received,
        "application": null,
        "automatic_payment_methods": null,
        "canceled_at": intent.canceled_at,
        "cancellation_reason": intent.canceled_at.map(|_| "void_invoice"),
        "capture_method": "automatic",
        "client_secret": format!("{}_secret_Q9ZGqEQGVZxgcOYqMj1X3bYhH", intent.id),
        "confirmation_method": "automatic",
        "created": intent.created,
        "currency": intent.currency,
        "customer": somebody(&intent.customer),
        "description": "Subscription creation",
        "last_payment_error": error,
        "latest_charge": intent.latest_charge,
        "metadata": {},
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": intent.payment_method,
        "payment_method_types": ["card"],
        "processing": null,
        "receipt_email": null,
        "setup_future_usage": "off_session",
        "shipping": null,
        "statement_descriptor": null,
        "status": intent.status.text(),
        "transfer_data": null,
        "transfer_group": null,
    });
    if version.old_places() {
        json["invoice"] = intent.invoice.as_deref().into();
    }
    if version.of_today() {
        json["payment_details"] = json!({ "customer_reference": null, "order_reference": intent.invoice });
    }
    json
}

pub(super) fn checkout_session(session: &CheckoutSession, version: ApiVersion) -> Value {
    let opened = &session.opened;
    let creation = Some(if opened.makes_customer { "always" } else { "if_required" });
    let off =
        opened.coupon.filter(|_| opened.trial_end.is_none()).map_or(0, |coupon| coupon.off(session.amount_subtotal()));
    json!({
        "id": session.id,
        "object": "checkout.session",
        "after_expiration": null,
        "allow_promotion_codes": opened.allows_promotion_codes.then_some(true),
        "amount_subtotal": session.amount_total + off,
        "amount_total": session.amount_total,
        "automatic_tax": { "enabled": false, "liability": null, "status": null },
        "billing_address_collection": null,
        "cancel_url": opened.cancel_url,
        "client_reference_id": session.client_reference_id,
        "client_secret": null,
        "consent": null,
        "created": session.created,
        "currency": session.currency,
        "custom_fields": [],
        "customer": somebody(&session.customer),
        "customer_creation": creation.filter(|_| session.mode == Mode::Payment),
        "customer_details": {
            "address": null,
            "email": session.email,
            "name": session.name,
            "phone": null,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": null,
        "expires_at": session.expires_at(),
        "invoice": session.invoice,
        "locale": null,
        "metadata": session.metadata,
        "mode": if session.mode == Mode::Subscription { "subscription" } else { "payment" },
        "payment_intent": session.payment_intent,
        "payment_link": null,
        "payment_method_collection": if opened.always_wants_card { "always" } else { "if_required" },
        "payment_status": session.payment_status,
        "recovered_from": null,
        "setup_intent": null,
        "shipping_options": [],
        "status": session.status,
        "submit_type": null,
        "subscription": session.subscription,
        "success_url": opened.success_url,
        "total_details": { "amount_discount": off, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": if version == ApiVersion::Endive { "hosted_page" } else { "hosted" },
        "url": opened.url.as_ref().filter(|_| session.status == "open"),
    })
}

pub(super) fn invoice_payment(payment: &InvoicePayment) -> Value {
    json!({
        "id": payment.id,
        "object": "invoice_payment",
        "amount_paid": payment.paid_at.map(|_| payment.amount),
        "amount_requested": payment.amount,
        "created": payment.created,
        "currency": payment.currency,
        "invoice": payment.invoice,
        "is_default": true,
        "payment": { "payment_intent": payment.payment_intent, "type": "payment_intent" },
        "status": if payment.paid_at.is_some() { "paid" } else { "open" },
        "status_transitions": { "canceled_at": null, "paid_at": payment.paid_at },
    })
}

pub(super) fn charge(charge: &Charge, version: ApiVersion) -> Value {
    let mut json = json!({
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": if charge.paid { charge.amount } else { 0 },
        "amount_refunded": charge.amount_refunded,
        "captured": charge.paid,
        "created": charge.created,
        "currency": charge.currency,
        "customer": somebody(&charge.customer),
        "description": "Subscription creation",
        "metadata": {},
        "outcome": { "network_status": if charge.paid { "approved_by_network" } else { "declined_by_network" }, "type": "authorized" },
        "paid": charge.paid,
        "payment_intent": charge.payment_intent,
        "refunded": charge.amount_refunded == charge.amount,
        "status": if charge.paid { "succeeded" } else { "failed" },
    });
    if version.old_places() {
        json["invoice"] = charge.invoice.as_deref().into();
    }
    json
}

pub(super) fn refund(refund: &Refund) -> Value {
    let mut json = json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": null,
        "charge": refund.charge,
        "created": refund.created,
        "currency": refund.currency,
        "metadata": {},
        "payment_intent": refund.payment_intent,
        "reason": "requested_by_customer",
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": refund.status.text(),
        "transfer_reversal": null,
    });
    if refund.status == RefundStatus::Failed {
        json["failure_reason"] = "lost_or_stolen_card".into();
    }
    json
}

pub(super) fn dispute(dispute: &Dispute) -> Value {
    json!({
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [],
        "charge": dispute.charge,
        "created": dispute.created,
        "currency": dispute.currency,
        "evidence_details": { "due_by": null, "has_evidence": false, "past_due": false, "submission_count": 0 },
        "is_charge_refundable": false,
        "metadata": {},
        "payment_intent": dispute.payment_intent,
        "reason": "fraudulent",
        "status": dispute.status,
    })
}
