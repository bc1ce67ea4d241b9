//! Which rows are made so that they can be locked, for whoever has to tell them from what was there.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Draft, Lock, Record, Tx, UnitOfWork, columns_of};

use crate::apply::touched::Touched;
use crate::charges::Charge;
use crate::customers::Customer;
use crate::invoices::Invoice;
use crate::payment_methods::PaymentMethod;
use crate::payments::Payment;

/// Rows by their table and key.
pub type Names = BTreeSet<(&'static str, String)>;

/// Whether a row that has changed since the last savepoint was nothing but a name before, made so that it could be locked.
pub fn was_placeholder(work: &UnitOfWork, table: &str, key: &str) -> bool {
    match table {
        Customer::TABLE => {
            let is_new = |row: &Customer| row.first_seen_at == work.now() && row.last_change == 0;
            work.before(key).is_some_and(|row: &Customer| row.history.is_empty() && is_new(row))
        }
        Invoice::TABLE => work.before(key).is_some_and(|row: &Invoice| row.status.is_empty()),
        Payment::TABLE => work.before(key).is_some_and(|row: &Payment| row.status.is_none()),
        PaymentMethod::TABLE => work.before(key).is_some_and(|row: &PaymentMethod| row.seen_at.is_none()),
        _ => false,
    }
}

/// The rows that [`load`](super::load) makes where they are missing, and some that it may make.
pub fn names(touched: &Touched) -> Names {
    let mut names = Names::new();
    let mut add = |table: &'static str, keys: &BTreeSet<String>| {
        names.extend(keys.iter().map(|key| (table, key.clone())));
    };
    add(Customer::TABLE, &touched.customers);
    add(Invoice::TABLE, &touched.invoices_of_nobody);
    add(Charge::TABLE, &touched.charges.keys().cloned().collect());
    for payments in [&touched.payments, &touched.paid_invoices, &touched.guarded_payments] {
        add(Payment::TABLE, payments);
    }
    add(PaymentMethod::TABLE, &touched.payment_methods);
    names
}

/// Those of the rows that are there, as if they were new. No names, no statement.
pub async fn rows(tx: &mut Tx, names: &Names) -> Result<Vec<Draft>, DbError> {
    let mut rows = rows_of::<Customer>(tx, names).await?;
    rows.extend(rows_of::<Invoice>(tx, names).await?);
    rows.extend(rows_of::<Charge>(tx, names).await?);
    rows.extend(rows_of::<Payment>(tx, names).await?);
    rows.extend(rows_of::<PaymentMethod>(tx, names).await?);
    Ok(rows)
}

async fn rows_of<T: Record>(tx: &mut Tx, names: &Names) -> Result<Vec<Draft>, DbError> {
    let keys = names.iter().filter(|(table, _)| *table == T::TABLE).map(|(_, key)| key.clone()).collect();
    let rows = tx.load::<T>(T::key_column(), &keys, Lock::None).await?;
    let as_new = |row: &T| Draft { table: T::TABLE, key: row.key().to_owned(), before: None, after: columns_of(row) };
    Ok(rows.iter().map(as_new).collect())
}

/// Those of the rows that are not there.
pub async fn missing(tx: &mut Tx, mut names: Names) -> Result<Names, DbError> {
    for row in rows(tx, &names).await? {
        names.remove(&(row.table, row.key));
    }
    Ok(names)
}
