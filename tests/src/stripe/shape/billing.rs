//! Subscriptions and invoices, the objects whose fields have moved.

use serde_json::{Value, json};

use super::{ApiVersion, list};
use crate::stripe::BEGINNING;
use crate::stripe::model::{
    Coupon, Interval, Invoice, InvoiceStatus, Item, Line, LineOrigin, PendingUpdate, Price, Subscription,
};

pub(super) fn subscription(subscription: &Subscription, version: ApiVersion) -> Value {
    let id = &subscription.id;
    let first = &subscription.items[0];
    let items = subscription.items.iter().map(|item| self::item(item, id, version)).collect();
    let mut json = json!({
        "id": id,
        "object": "subscription",
        "application": null,
        "application_fee_percent": null,
        "automatic_tax": { "enabled": false, "liability": null },
        "billing_cycle_anchor": subscription.anchor,
        "cancel_at": subscription.cancel_at,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "cancellation_details": {
            "comment": null,
            "feedback": null,
            "reason": subscription.canceled_at.map(|_| "cancellation_requested"),
        },
        "collection_method": "charge_automatically",
        "created": subscription.created,
        "currency": first.price.currency,
        "customer": subscription.customer,
        "days_until_due": null,
        "default_payment_method": subscription.default_payment_method,
        "default_source": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": subscription.coupon.map(discount).into_iter().collect::<Vec<_>>(),
        "ended_at": subscription.ended_at,
        "invoice_settings": { "account_tax_ids": null, "issuer": { "type": "self" } },
        "items": list(format!("/v1/subscription_items?subscription={id}"), items),
        "latest_invoice": subscription.latest_invoice,
        "metadata": subscription.metadata,
        "next_pending_invoice_item_invoice": null,
        "on_behalf_of": null,
        "pause_collection": subscription.pause_collection.map(|behavior| json!({ "behavior": behavior, "resumes_at": null })),
        "payment_settings": {
            "payment_method_options": null,
            "payment_method_types": null,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null,
        "pending_setup_intent": null,
        "pending_update": subscription.pending_update.as_ref().map(|pending| self::pending_update(pending, id, version)),
        "schedule": null,
        "start_date": subscription.created,
        "status": subscription.status.text(),
        "test_clock": null,
        "transfer_data": null,
        "trial_end": subscription.trial.map(|trial| trial.end),
        "trial_settings": { "end_behavior": { "missing_payment_method": "create_invoice" } },
        "trial_start": subscription.trial.map(|trial| trial.start),
    });
    if version.old_places() {
        json["current_period_start"] = first.period.start.into();
        json["current_period_end"] = first.period.end.into();
        json["discount"] = Value::Null;
        json["billing_thresholds"] = Value::Null;
    }
    if version.of_today() {
        json["billing_mode"] = json!({ "type": "flexible", "flexible": { "proration_discounts": "included" }, "updated_at": subscription.created });
    }
    // Undocumented, but always there for a subscription of a single item.
    if subscription.items.len() == 1 {
        json["plan"] = plan(first.price);
        json["quantity"] = first.quantity.into();
    }
    json
}

fn pending_update(pending: &PendingUpdate, subscription: &str, version: ApiVersion) -> Value {
    json!({
        "billing_cycle_anchor": null,
        "expires_at": pending.expires_at,
        "subscription_items": pending.items.iter().map(|item| self::item(item, subscription, version)).collect::<Vec<_>>(),
        "trial_end": null,
        "trial_from_plan": null,
    })
}

fn item(item: &Item, subscription: &str, version: ApiVersion) -> Value {
    let mut json = json!({
        "id": item.id,
        "object": "subscription_item",
        "created": item.created,
        "discounts": [],
        "metadata": {},
        "plan": plan(item.price),
        "price": price(item.price, item.lookup_key),
        "quantity": item.quantity,
        "subscription": subscription,
        "tax_rates": [],
    });
    if version.new_places() {
        json["current_period_start"] = item.period.start.into();
        json["current_period_end"] = item.period.end.into();
    }
    if item.deleted {
        json["deleted"] = true.into();
    }
    json
}

pub(super) fn price(price: &Price, lookup_key: Option<&str>) -> Value {
    let recurring = price.interval.name().map(|interval| {
        json!({
            "interval": interval,
            "interval_count": price.interval.count(),
            "meter": null,
            "trial_period_days": price.trial_days,
            "usage_type": "licensed",
        })
    });
    json!({
        "id": price.id,
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": BEGINNING,
        "currency": price.currency,
        "custom_unit_amount": null,
        "livemode": false,
        "lookup_key": lookup_key,
        "metadata": {},
        "nickname": null,
        "product": price.product,
        "type": if recurring.is_some() { "recurring" } else { "one_time" },
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "unit_amount": price.unit_amount,
        "unit_amount_decimal": price.unit_amount.to_string(),
    })
}

fn plan(price: &Price) -> Value {
    json!({
        "id": price.id,
        "object": "plan",
        "active": true,
        "amount": price.unit_amount,
        "amount_decimal": price.unit_amount.to_string(),
        "billing_scheme": "per_unit",
        "created": BEGINNING,
        "currency": price.currency,
        "interval": price.interval.name(),
        "interval_count": price.interval.count(),
        "livemode": false,
        "metadata": {},
        "meter": null,
        "nickname": null,
        "product": price.product,
        "tiers_mode": null,
        "transform_usage": null,
        "trial_period_days": price.trial_days,
        "usage_type": "licensed",
    })
}

/// The discount that a coupon gives, by its id.
fn discount(coupon: &Coupon) -> String {
    format!("di_1{}", coupon.id)
}

pub(super) fn invoice(invoice: &Invoice, version: ApiVersion) -> Value {
    let id = &invoice.id;
    let lines = invoice.lines.iter().map(|line| self::line(line, invoice, version)).collect();
    let is_final = invoice.finalized_at.is_some();
    let subtotal = invoice.total + invoice.discount.map_or(0, |(_, off)| off);
    let discounts: Vec<_> =
        invoice.discount.iter().map(|(coupon, off)| json!({ "amount": off, "discount": discount(coupon) })).collect();
    let page = is_final.then(|| format!("https://invoice.stripe.com/i/acct_1/test_{id}"));
    let mut json = json!({
        "id": id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Tollgate",
        "account_tax_ids": null,
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": invoice.amount_due - invoice.amount_paid,
        "amount_shipping": 0,
        "application": null,
        "attempt_count": invoice.attempt_count,
        "attempted": invoice.attempt_count > 0,
        "auto_advance": invoice.auto_advance && matches!(invoice.status, InvoiceStatus::Draft | InvoiceStatus::Open),
        "automatic_tax": { "enabled": false, "liability": null, "status": null },
        "billing_reason": invoice.billing_reason,
        "collection_method": "charge_automatically",
        "created": invoice.created,
        "currency": invoice.currency,
        "custom_fields": null,
        "customer": invoice.customer,
        "customer_address": null,
        "customer_email": invoice.customer_email,
        "customer_name": invoice.customer_name,
        "customer_phone": null,
        "default_payment_method": null,
        "default_source": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": invoice.discount.map(|(coupon, _)| discount(coupon)).into_iter().collect::<Vec<_>>(),
        "due_date": null,
        "effective_at": invoice.finalized_at,
        "ending_balance": is_final.then_some(0),
        "footer": null,
        "hosted_invoice_url": page,
        "invoice_pdf": page.map(|page| format!("{page}/pdf")),
        "issuer": { "type": "self" },
        "last_finalization_error": null,
        "latest_revision": null,
        "lines": list(format!("/v1/invoices/{id}/lines"), lines),
        "metadata": {},
        "next_payment_attempt": invoice.next_payment_attempt,
        "number": invoice.number,
        "on_behalf_of": null,
        "payment_settings": { "default_mandate": null, "payment_method_options": null, "payment_method_types": null },
        "period_end": invoice.created,
        "period_start": invoice.created,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": null,
        "rendering": null,
        "starting_balance": 0,
        "statement_descriptor": null,
        "status": invoice.status.text(),
        "status_transitions": {
            "finalized_at": invoice.finalized_at,
            "marked_uncollectible_at": invoice.marked_uncollectible_at,
            "paid_at": invoice.paid_at,
            "voided_at": invoice.voided_at,
        },
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "test_clock": null,
        "total": invoice.total,
        "total_discount_amounts": discounts,
        "total_excluding_tax": invoice.total,
        "webhooks_delivered_at": invoice.finalized_at,
    });
    if version.old_places() {
        json["subscription"] = invoice.subscription.as_deref().into();
        json["subscription_details"] = match invoice.subscription {
            Some(_) => json!({ "metadata": invoice.subscription_metadata }),
            None => json!({ "metadata": null }),
        };
        json["payment_intent"] = invoice.payment_intent.as_deref().into();
        json["charge"] = Value::Null;
        json["paid"] = (invoice.status == InvoiceStatus::Paid).into();
        json["paid_out_of_band"] = false.into();
        json["discount"] = Value::Null;
        json["tax"] = Value::Null;
        json["total_tax_amounts"] = json!([]);
        json["quote"] = Value::Null;
        json["application_fee_amount"] = Value::Null;
        json["transfer_data"] = Value::Null;
    }
    if version.new_places() {
        json["parent"] = invoice.subscription.as_ref().map_or(Value::Null, |subscription| {
            json!({
                "type": "subscription_details",
                "quote_details": null,
                "subscription_details": { "metadata": invoice.subscription_metadata, "subscription": subscription },
            })
        });
        json["total_taxes"] = json!([]);
        json["amount_overpaid"] = 0.into();
    }
    json
}

fn line(line: &Line, invoice: &Invoice, version: ApiVersion) -> Value {
    let proration = line.origin.is_proration();
    let invoice_item = (line.origin != LineOrigin::Item).then(|| line.id.replacen("il", "ii", 1));
    let mut json = json!({
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": invoice.currency,
        "description": format!("{} × {}", line.quantity, line.price.product),
        "discount_amounts": [],
        "discountable": !proration,
        "discounts": [],
        "invoice": invoice.id,
        "livemode": false,
        "metadata": invoice.subscription_metadata,
        "period": { "start": line.period.start, "end": line.period.end },
        "quantity": line.quantity,
        "subscription": invoice.subscription,
    });
    if version.old_places() {
        json["price"] = price(line.price, line.lookup_key);
        json["plan"] = if line.price.interval == Interval::Once { Value::Null } else { plan(line.price) };
        json["proration"] = proration.into();
        json["proration_details"] = json!({ "credited_items": null });
        // Both are left out, and not null, where there is none.
        if let Some(item) = &line.item {
            json["subscription_item"] = item.as_str().into();
        }
        if let Some(invoice_item) = &invoice_item {
            json["invoice_item"] = invoice_item.as_str().into();
        }
        json["type"] = if line.origin == LineOrigin::Item { "subscription" } else { "invoiceitem" }.into();
        json["tax_amounts"] = json!([]);
        json["tax_rates"] = json!([]);
    }
    if version.new_places() {
        json["pricing"] = json!({
            "type": "price_details",
            "price_details": { "price": line.price.id, "product": line.price.product },
            "unit_amount_decimal": line.price.unit_amount.to_string(),
        });
        json["parent"] = parent(line, invoice, invoice_item.as_deref());
        json["taxes"] = json!([]);
    }
    json
}

fn parent(line: &Line, invoice: &Invoice, invoice_item: Option<&str>) -> Value {
    let mut details = json!({
        "invoice_item": invoice_item,
        "proration": line.origin.is_proration(),
        "proration_details": { "credited_items": null },
        "subscription": invoice.subscription,
    });
    if line.origin != LineOrigin::ProrationAlone {
        details["subscription_item"] = line.item.as_deref().into();
    }
    let (kind, other) = match line.origin {
        LineOrigin::Item | LineOrigin::ProrationOfItem => ("subscription_item_details", "invoice_item_details"),
        LineOrigin::ProrationNamingItem | LineOrigin::ProrationAlone | LineOrigin::OneOff => {
            ("invoice_item_details", "subscription_item_details")
        }
    };
    json!({ "type": kind, kind: details, other: null })
}
