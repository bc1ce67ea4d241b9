//! What is sold and subscribed to.

use chrono::{DateTime, Months};

use super::Metadata;
use crate::stripe::DAY;

/// How often a price is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Every day.
    Day,
    /// Every 7 days.
    Week,
    /// Every 14 days.
    TwoWeeks,
    /// Every 30 days, in this Stripe.
    Month,
    /// Every month of the calendar, on the day of the first one or the last that there is.
    CalendarMonth,
    /// Every 365 days.
    Year,
    /// Once, for good.
    Once,
}

impl Interval {
    /// The one that Stripe calls so; none for other words.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Day, Self::Week, Self::Month, Self::Year].into_iter().find(|interval| interval.name() == Some(name))
    }

    /// As Stripe writes it; none for what is billed once.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Day => Some("day"),
            Self::Week | Self::TwoWeeks => Some("week"),
            Self::Month | Self::CalendarMonth => Some("month"),
            Self::Year => Some("year"),
            Self::Once => None,
        }
    }

    /// `interval_count`
    pub fn count(self) -> i64 {
        if self == Self::TwoWeeks { 2 } else { 1 }
    }

    /// When a period ends that begins at `start`, of a subscription whose periods are counted from `anchor`.
    pub fn end_of_period(self, anchor: i64, start: i64) -> i64 {
        if self != Self::CalendarMonth {
            return start + self.seconds();
        }
        let first = DateTime::from_timestamp(anchor, 0).expect("stories are of this century");
        let mut ends = (0..).filter_map(|months| Some(first.checked_add_months(Months::new(months))?.timestamp()));
        ends.find(|end| *end > start).expect("there is always another month")
    }

    /// Its length in seconds; none for what is billed once.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::TwoWeeks => 14 * DAY,
            Self::Month | Self::CalendarMonth => 30 * DAY,
            Self::Year => 365 * DAY,
            Self::Once => 0,
        }
    }
}

/// What can be bought.
#[derive(Debug, PartialEq)]
pub struct Price {
    /// `price_…`
    pub id: &'static str,
    /// `prod_…`
    pub product: &'static str,
    /// The name that it was made with; it can move to another price, see
    /// [`Stripe::move_lookup_key`](crate::stripe::Stripe::move_lookup_key).
    pub lookup_key: Option<&'static str>,
    /// Lower case.
    pub currency: &'static str,
    /// For one, for one interval.
    pub unit_amount: i64,
    /// How often.
    pub interval: Interval,
    /// `recurring.trial_period_days`: free days that it may begin with.
    pub trial_days: Option<i64>,
}

/// How long a discount lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// For the first payment.
    Once,
    /// For all of them.
    Forever,
}

/// What is taken off, for those who know its code.
#[derive(Debug, PartialEq)]
pub struct Coupon {
    /// The coupon's.
    pub id: &'static str,
    /// `promo_…`: what the code stands for.
    pub promotion: &'static str,
    /// What is typed in.
    pub code: &'static str,
    /// Of everything that is charged.
    pub percent_off: i64,
    /// For how long.
    pub lasting: Lasting,
}

impl Coupon {
    /// What it takes off so much, in whole minor units; nothing off a credit.
    pub fn off(&self, amount: i64) -> i64 {
        (amount.max(0) * self.percent_off + 50) / 100
    }
}

/// A span of time, from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First second.
    pub start: i64,
    /// First second after it.
    pub end: i64,
}

/// A line of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// `si_…`
    pub id: String,
    /// When it was added.
    pub created: i64,
    /// What.
    pub price: &'static Price,
    /// The name that the price has at this moment.
    pub lookup_key: Option<&'static str>,
    /// How many.
    pub quantity: i64,
    /// What is paid for.
    pub period: Period,
    /// Gone, and still listed.
    pub deleted: bool,
}

/// `subscription.status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first payment has not come.
    Incomplete,
    /// It did not come for 23 hours. Final.
    IncompleteExpired,
    /// Not paid for yet, and usable.
    Trialing,
    /// Paid for.
    Active,
    /// A renewal has failed.
    PastDue,
    /// Given up, but not ended.
    Unpaid,
    /// Without invoices until it is resumed.
    Paused,
    /// Ended. Final.
    Canceled,
}

impl Status {
    /// As Stripe writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
        }
    }

    /// Whether it has ended for good.
    pub fn is_final(self) -> bool {
        matches!(self, Self::IncompleteExpired | Self::Canceled)
    }
}

/// What a customer pays for again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// Whose.
    pub customer: String,
    /// When it was made.
    pub created: i64,
    /// Where it stands.
    pub status: Status,
    /// At least one.
    pub items: Vec<Item>,
    /// Ends with its period.
    pub cancel_at_period_end: bool,
    /// Ends then.
    pub cancel_at: Option<i64>,
    /// When the end was asked for.
    pub canceled_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Its trial, over or not.
    pub trial: Option<Period>,
    /// `pause_collection.behavior`: invoices are made, money is not taken.
    pub pause_collection: Option<&'static str>,
    /// Free text; `user_id` is ours.
    pub metadata: Metadata,
    /// What is taken off its invoices.
    pub coupon: Option<&'static Coupon>,
    /// Above the customer's.
    pub default_payment_method: Option<String>,
    /// Its newest.
    pub latest_invoice: Option<String>,
    /// `billing_cycle_anchor`: what its periods are counted from.
    pub anchor: i64,
    /// Until then nothing is billed: it was made with an anchor that is to come.
    pub is_free_until: Option<i64>,
    /// What waits until it is paid for.
    pub pending_update: Option<PendingUpdate>,
}

/// A change that waits until it is paid for.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingUpdate {
    /// When it is given up.
    pub expires_at: i64,
    /// What is to be paid.
    pub invoice: String,
    /// How the items are to be.
    pub items: Vec<Item>,
}
