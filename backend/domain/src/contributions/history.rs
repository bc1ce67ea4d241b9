//! The contributions of a user, the newest first.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::clock::rfc3339;

use crate::contributions::{Contribution, ContributionStatus};

/// A contribution as whoever pays it sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Contribution")]
pub struct ContributionView {
    id: String,
    pod_id: String,
    membership_id: String,
    user_id: String,
    invoice_id: Option<String>,
    stripe_reference: Option<String>,
    amount: i64,
    currency: String,
    status: ContributionStatus,
    due_at: String,
    paid_at: Option<String>,
    attempts: i64,
    next_attempt_at: Option<String>,
    failure_code: Option<String>,
    created_at: String,
}

impl From<&Contribution> for ContributionView {
    fn from(row: &Contribution) -> Self {
        Self {
            id: row.id.clone(),
            pod_id: row.pod_id.clone(),
            membership_id: row.membership_id.clone(),
            user_id: row.user_id.clone(),
            invoice_id: row.invoice_id.clone(),
            stripe_reference: row.reference.clone().or_else(|| row.invoice_id.clone()),
            amount: if row.status().was_paid() { row.amount_paid } else { row.amount },
            currency: row.currency.clone(),
            status: row.status(),
            due_at: rfc3339(row.due_at),
            paid_at: row.paid_at.map(rfc3339),
            attempts: row.attempts_in_all(),
            next_attempt_at: row.next_attempt_at.map(rfc3339),
            failure_code: row.failure_code.clone(),
            created_at: rfc3339(row.created_at),
        }
    }
}

/// A page of what a user owes and has paid to a pod.
pub async fn list(tx: &mut Tx, user_id: &str, pod_id: &str, page: &Page) -> Result<List<ContributionView>, DbError> {
    let start = page.start();
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM contributions
             WHERE user_id = $1 AND pod_id = $2 AND (due_at, id) < ($3, $4)
               AND (invoice_id IS NOT NULL OR reported_status IS NOT NULL)
             ORDER BY due_at DESC, id DESC
             LIMIT $5",
        )
        .bind(user_id)
        .bind(pod_id)
        .bind(start.at)
        .bind(start.id)
        .bind(page.rows_wanted())
        .all()
        .await?;
    let ids: BTreeSet<_> = ids.into_iter().map(|(id,)| id).collect();
    let rows: Vec<Contribution> = tx.load("id", &ids, Lock::None).await?;
    let list = page.merge(rows, |row| Position { at: row.due_at, id: row.id.clone() });
    Ok(list.map(|row| ContributionView::from(&row)))
}
