//! Customers of nobody, who belong to whoever signs in with their e-mail address.

use tollgate_db::{DbError, Tx, UnitOfWork};

use super::{Customer, store};
use crate::audit::{self, Cause, Diff};
use crate::plans::Plans;

/// The customers of nobody that have this e-mail address, in whatever case of ASCII's letters: a hundred at most.
pub async fn unlinked(tx: &mut Tx, email: &str) -> Result<Vec<String>, DbError> {
    store::unlinked(tx, &email.to_ascii_lowercase()).await
}

/// Makes `user_id`, who signed in with the verified address `email`, the owner of a customer who has it and is still
/// nobody's. Says whether that is so. The weakest of all claims: whatever Stripe's objects say is told by somebody who knows
/// more than an address.
pub fn claim(work: &mut UnitOfWork, plans: &Plans, customer: &str, email: &str, user_id: &str) -> bool {
    let mut row = Customer::of(work, customer, plans);
    // Other letters than ASCII's are compared as they are: some only look alike.
    let is_theirs = row.email.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(email));
    if row.user_id.is_some() || !is_theirs {
        return false;
    }
    row.user_claims.verified_email = Some(user_id.to_owned());
    let diff = Diff { change: "user", from: None, to: Some(user_id) };
    let entry = diff.to_audit_entry(work, Cause::user(None), customer, None);
    audit::append(work, &mut row.last_change, entry.into_iter().collect());
    work.insert(row);
    true
}
