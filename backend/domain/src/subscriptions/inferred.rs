//! What the invoices of a subscription tell of it while no snapshot of its own has come.
//!
//! Kept so that the order of arrival makes no difference and that other plans can be matched later: of each price the
//! newest line that was charged or credited. What is told is then the newest charge that still counts, one that a plan
//! matches before others. A charge counts until its price is credited, or until its period is over and a later one is
//! charged: an add-on that is bought in the midst of a period takes nothing away, and the next period's invoice does.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use tollgate_db::UnitOfWork;
use tollgate_stripe::{Invoice, Line, PriceRef};

use crate::plans::{Plan, Plans, Sale, prices};

/// How many prices are kept of one subscription; Stripe lets it have 20 items.
const PRICES_MAX: usize = 40;

/// What invoices have told of their subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Inferred {
    /// When the first invoice that names it was made, Unix seconds.
    pub first_invoice_at: Option<i64>,
    /// Whether an invoice of it was paid.
    pub is_paid: bool,
    /// Of each price the newest line, the newest first.
    pub lines: Vec<InferredLine>,
    /// The pod that an invoice of it names; should several be named, the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_id: Option<String>,
}

/// The newest line of a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferredLine {
    /// Its invoice's creation (Unix seconds) and id.
    pub invoice: (i64, String),
    /// Whether the price was given back there, and not charged.
    #[serde(default)]
    pub is_credit: bool,
    /// Where it stands in the invoice.
    #[serde(default)]
    pub index: usize,
    /// The price that was paid for.
    pub price: PriceRef,
    /// How many of it.
    pub quantity: Option<i64>,
    /// Start of the period that was paid for, Unix seconds.
    pub period_start: Option<i64>,
    /// End of the period that was paid for, Unix seconds.
    pub period_end: Option<i64>,
}

/// The forms in which it may be stored: in earlier releases it was the one line that counted.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Line(InferredLine),
    Whole {
        first_invoice_at: Option<i64>,
        is_paid: bool,
        lines: Vec<InferredLine>,
        #[serde(default)]
        pod_id: Option<String>,
    },
}

impl From<Stored> for Inferred {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Line(line) => {
                Self { first_invoice_at: Some(line.invoice.0), is_paid: true, lines: vec![line], pod_id: None }
            }
            Stored::Whole { first_invoice_at, is_paid, lines, pod_id } => {
                Self { first_invoice_at, is_paid, lines, pod_id }
            }
        }
    }
}

impl Inferred {
    /// Takes in what `invoice` tells of `subscription`; `false` when it is nothing new. Only what is paid tells what was
    /// bought.
    pub fn learn(&mut self, invoice: &Invoice, subscription: &str) -> bool {
        let was = self.clone();
        self.pod_id = self.pod_id.take().max(invoice.pod.pod_id.clone());
        self.first_invoice_at = self.first_invoice_at.into_iter().chain(invoice.created).min();
        if invoice.status == "paid" {
            self.is_paid = true;
            // A proration that waited for its invoice names no item any more, and is made of nothing else.
            let is_own = |line: &&Line| {
                (line.of_subscription_item || line.proration)
                    && line.subscription.as_deref().is_none_or(|id| id == subscription)
            };
            for (index, line) in invoice.lines.iter().filter(is_own).enumerate() {
                self.keep(InferredLine::of(invoice, index, line));
            }
            self.lines.sort_by(|a, b| b.precedence().cmp(&a.precedence()));
            self.lines.truncate(PRICES_MAX);
        }
        *self != was
    }

    /// The line that says what the subscription is for, with the plan that matches it.
    pub fn chosen<'a>(&'a self, work: &UnitOfWork, plans: &'a Plans) -> Option<(&'a InferredLine, Option<&'a Plan>)> {
        let counts = |line: &&InferredLine| !line.is_credit && !self.lines.iter().any(|later| later.outlives(line));
        let plan_of = |line: &InferredLine| prices::plan_of(work, plans, &line.price, Sale::Recurring);
        let with_plan = self.lines.iter().filter(counts).map(|line| (line, plan_of(line)));
        with_plan.max_by_key(|(line, plan)| (plan.is_some(), line.precedence()))
    }

    fn keep(&mut self, line: InferredLine) {
        match self.lines.iter_mut().find(|known| known.is_of_same_price(&line)) {
            Some(known) if known.precedence() < line.precedence() => *known = line,
            Some(_) => {}
            None => self.lines.push(line),
        }
    }
}

impl InferredLine {
    fn of(invoice: &Invoice, index: usize, line: &Line) -> Self {
        Self {
            invoice: (invoice.created.unwrap_or_default(), invoice.id.clone()),
            is_credit: line.amount < 0,
            index,
            price: line.price.clone(),
            quantity: line.quantity,
            period_start: line.period_start,
            period_end: line.period_end,
        }
    }

    /// A later invoice before an earlier one; within one, what is charged before what is credited, and the last. The rest
    /// is for an invoice that shows one line in two ways: any of them, but always the same.
    fn precedence(&self) -> impl Ord {
        let rest = (self.quantity, self.period_end, self.period_start);
        (self.invoice.clone(), Reverse(self.is_credit), self.index, rest)
    }

    fn is_of_same_price(&self, other: &Self) -> bool {
        match (&self.price.id, &other.price.id) {
            (Some(id), Some(other)) => id == other,
            _ => self.price == other.price,
        }
    }

    /// Whether it was charged for a time after that of `earlier`.
    fn outlives(&self, earlier: &Self) -> bool {
        let begins_after = || Some(self.period_start? >= earlier.period_end?);
        self.invoice > earlier.invoice && !self.is_credit && begins_after().unwrap_or(false)
    }
}
