//! Stripe's objects as far as we read them, in one form for every API version. How they are read is in `payload`.
//!
//! They are kept with the rows that they made, so their own JSON leaves out what is absent.

use serde::{Deserialize, Serialize};

/// An object whose JSON leaves out each field that has its default value, and takes its default for each that is left out.
macro_rules! object {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(default, skip_serializing_if = "is_default")] pub $field: $type,)*
        }
    };
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

object! {
    /// What a price can be recognised by.
    pub struct PriceRef {
        /// `price_…`, or a plan's id from before prices.
        pub id: Option<String>,
        /// The name that an operator gave it. Invoice lines have it up to 2024 only.
        pub lookup_key: Option<String>,
        /// `prod_…`
        pub product: Option<String>,
    }
}

object! {
    /// One thing that a subscription is for.
    pub struct Item {
        /// `si_…`; empty when Stripe sent none.
        pub id: String,
        /// What is paid for it.
        pub price: PriceRef,
        /// How many.
        pub quantity: Option<i64>,
        /// Unix seconds; the item's own, else the subscription's.
        pub period_start: Option<i64>,
        /// Unix seconds; the item's own, else the subscription's.
        pub period_end: Option<i64>,
    }
}

object! {
    /// A subscription.
    pub struct Subscription {
        /// `sub_…`
        pub id: String,
        /// `cus_…`
        pub customer: String,
        /// `active`, `past_due`, … or one that Stripe adds later.
        pub status: String,
        /// Unix seconds.
        pub created: Option<i64>,
        /// Those that the snapshot carries, in Stripe's order.
        pub items: Vec<Item>,
        /// How many there are, which may be more than the snapshot carries.
        pub item_count: i64,
        /// Whether it ends with the period.
        pub cancel_at_period_end: bool,
        /// When it will end; Unix seconds.
        pub cancel_at: Option<i64>,
        /// When somebody asked for its end; Unix seconds.
        pub canceled_at: Option<i64>,
        /// When it ended; Unix seconds.
        pub ended_at: Option<i64>,
        /// Unix seconds.
        pub trial_end: Option<i64>,
        /// Whether invoices are made and not collected (`pause_collection`); its status does not say.
        pub collection_paused: bool,
        /// `metadata.user_id`, when it is not blank.
        pub user_id: Option<String>,
        /// `pm_…`
        pub default_payment_method: Option<String>,
        /// `in_…`
        pub latest_invoice: Option<String>,
    }
}

object! {
    /// A customer.
    pub struct Customer {
        /// `cus_…`
        pub id: String,
        /// As the customer or the operator wrote it.
        pub name: Option<String>,
        /// As the customer wrote it.
        pub email: Option<String>,
        /// Whether it is gone, which is for good.
        pub deleted: bool,
        /// `pm_…`; `invoice_settings.default_payment_method`.
        pub default_payment_method: Option<String>,
        /// `metadata.user_id`, when it is not blank.
        pub user_id: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
    }
}

object! {
    /// One line of an invoice.
    pub struct Line {
        /// What it charges for.
        pub price: PriceRef,
        /// How many.
        pub quantity: Option<i64>,
        /// Unix seconds.
        pub period_start: Option<i64>,
        /// Unix seconds.
        pub period_end: Option<i64>,
        /// Whether it settles a change within a period.
        pub proration: bool,
        /// `sub_…`
        pub subscription: Option<String>,
        /// Minor units; negative for a credit.
        pub amount: i64,
    }
}

object! {
    /// An invoice.
    pub struct Invoice {
        /// `in_…`
        pub id: String,
        /// `cus_…`
        pub customer: Option<String>,
        /// `sub_…`
        pub subscription: Option<String>,
        /// `draft`, `open`, `uncollectible`, `paid`, `void`, or one that Stripe adds later.
        pub status: String,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Minor units.
        pub amount_due: i64,
        /// Minor units.
        pub amount_paid: i64,
        /// How often its payment was tried.
        pub attempt_count: i64,
        /// Unix seconds; absent when no more will be made.
        pub next_payment_attempt: Option<i64>,
        /// Unix seconds.
        pub created: Option<i64>,
        /// `status_transitions.paid_at`; Unix seconds.
        pub paid_at: Option<i64>,
        /// What its reader sees on it.
        pub number: Option<String>,
        /// Where it can be paid.
        pub hosted_invoice_url: Option<String>,
        /// Where it can be downloaded.
        pub invoice_pdf: Option<String>,
        /// `pi_…`; in events since 2025-03-31 only [`InvoicePayment`] tells it.
        pub payment_intent: Option<String>,
        /// Those that the snapshot carries, in Stripe's order.
        pub lines: Vec<Line>,
    }
}

object! {
    /// A Checkout session.
    pub struct CheckoutSession {
        /// `cs_…`
        pub id: String,
        /// `payment`, `setup` or `subscription`.
        pub mode: Option<String>,
        /// `paid`, `unpaid` or `no_payment_required`.
        pub payment_status: Option<String>,
        /// `cus_…`
        pub customer: Option<String>,
        /// `sub_…`
        pub subscription: Option<String>,
        /// `in_…`
        pub invoice: Option<String>,
        /// `pi_…`
        pub payment_intent: Option<String>,
        /// Whom the shop said it was for, when it is not blank.
        pub client_reference_id: Option<String>,
        /// `metadata.user_id`, when it is not blank.
        pub user_id: Option<String>,
        /// Minor units.
        pub amount_total: Option<i64>,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
    }
}

object! {
    /// What ties a payment to its invoice, since 2025-03-31.
    pub struct InvoicePayment {
        /// `inpay_…`
        pub id: String,
        /// `in_…`
        pub invoice: Option<String>,
        /// `pi_…`; absent for a payment of another kind.
        pub payment_intent: Option<String>,
        /// `open`, `paid` or `canceled`.
        pub status: Option<String>,
    }
}

object! {
    /// A payment intent.
    pub struct PaymentIntent {
        /// `pi_…`
        pub id: String,
        /// `cus_…`
        pub customer: Option<String>,
        /// `succeeded`, `processing`, …
        pub status: Option<String>,
        /// Minor units.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
        /// `in_…`; up to 2025-03-31 only.
        pub invoice: Option<String>,
        /// The last error's `decline_code`, else its `code`.
        pub failure_code: Option<String>,
    }
}

object! {
    /// A payment method.
    pub struct PaymentMethod {
        /// `pm_…`
        pub id: String,
        /// `cus_…`; for one that was just detached, whose it was.
        pub customer: Option<String>,
        /// A card's brand; for another kind, its type.
        pub brand: Option<String>,
        /// The last four digits of a card or an account, where there are such.
        pub last4: Option<String>,
    }
}
