//! What the company itself tells of a payment: one with what Stripe tells of the same money, whichever comes first.

use tollgate_db::UnitOfWork;

use crate::charges::{self, Charge};
use crate::contributions::{Contribution, ReportedPayment, progress};

/// A payment as the company tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// `pi_…`, `in_…` or `ch_…`
    pub reference: &'a str,
    /// The membership that it is of, its pod, and its user.
    pub whose: (&'a str, &'a str, &'a str),
    /// In the currency's minor unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: &'a str,
    /// `pending`, `failed`, `succeeded` or `refunded`.
    pub status: &'a str,
    /// The invoice that it is known to pay, where Stripe was asked.
    pub invoice: Option<&'a str>,
}

/// Something else was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this payment was told of before, of another pod, amount or currency")]
pub struct Mismatch;

/// Takes in what was told. Gives the contribution, and whether it is the first time; told again, it only moves forward.
pub fn report(work: &mut UnitOfWork, told: &Report<'_>) -> Result<(Contribution, bool), Mismatch> {
    let now = work.now();
    let known: Option<ReportedPayment> = work.get_cloned(told.reference);
    let is_new = known.is_none();
    let row = match known {
        Some(row)
            if (&*row.membership_id, row.amount, &*row.currency) != (told.whose.0, told.amount, told.currency) =>
        {
            return Err(Mismatch);
        }
        Some(row) => row,
        None => {
            let contribution = contribution_of(work, told)?;
            let contribution_id = contribution.id.clone();
            work.insert(contribution);
            ReportedPayment {
                id: told.reference.to_owned(),
                contribution_id,
                membership_id: told.whose.0.to_owned(),
                amount: told.amount,
                currency: told.currency.to_owned(),
                status: String::new(),
                first_at: now,
                failed_at: None,
                succeeded_at: None,
            }
        }
    };
    let contribution_id = row.contribution_id.clone();
    work.insert(row.advanced(told.status, work));
    if let Some(charge) = work.get_cloned::<Charge>(told.reference) {
        work.insert(Charge { membership_id: Some(told.whose.0.to_owned()), ..charge });
    }
    let mut contribution: Contribution = work.get_cloned(&contribution_id).ok_or(Mismatch)?;
    contribution.settle(work);
    work.insert(contribution.clone());
    Ok((contribution, is_new))
}

/// The contribution that a report is of: its invoice's, else one of its own.
fn contribution_of(work: &UnitOfWork, told: &Report<'_>) -> Result<Contribution, Mismatch> {
    let by_charge = || charges::paying(work, told.reference)?.belongs_to.as_deref().filter(|id| id.starts_with("in_"));
    let named = Some(told.reference).filter(|reference| reference.starts_with("in_"));
    let invoice = named.or(told.invoice).or_else(by_charge);
    let is_its = |one: &&Contribution| invoice.is_some() && one.invoice_id.as_deref() == invoice;
    let Some(known) = work.all().find(is_its) else {
        let invoice_id = invoice.map(str::to_owned);
        return Ok(Contribution { invoice_id, ..Contribution::new(work, told.whose, told.currency) });
    };
    let is_same = (&*known.membership_id, known.amount, &*known.currency) == (told.whose.0, told.amount, told.currency);
    if is_same { Ok(known.clone()) } else { Err(Mismatch) }
}

impl ReportedPayment {
    /// The same after it was told to be `status`, which moves it forward or nowhere.
    fn advanced(mut self, status: &str, work: &UnitOfWork) -> Self {
        let now = work.now();
        if progress(status) > progress(&self.status) {
            status.clone_into(&mut self.status);
        }
        match status {
            "failed" => self.failed_at = self.failed_at.or(Some(now)),
            "succeeded" | "refunded" => self.succeeded_at = self.succeeded_at.or(Some(now)),
            _ => {}
        }
        self
    }
}
