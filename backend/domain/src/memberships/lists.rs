//! Everybody's memberships, for operators: by what they are, and by who pays for them.

use std::collections::BTreeMap;

use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::Timestamp;

use crate::memberships::view::MembershipView;
use crate::memberships::{JOINING_LASTS, Membership, MembershipStatus};
use crate::pods;

/// How many rows are looked at in one go.
const LOOK: i64 = 200;

/// The newest after a position (`$1`, `$2`), at most `$3`, of those for which the condition holds.
macro_rules! newest {
    ($($condition:literal)?) => {
        concat!(
            "SELECT id
             FROM memberships
             WHERE (joined_at, id) < ($1, $2)", $(" AND ", $condition,)?
            " ORDER BY joined_at DESC, id DESC
              LIMIT $3"
        )
    };
}

const NEWEST: &str = newest!();
const IN_GRACE: &str = newest!("grace_ends_at IS NOT NULL");
const OVER: &str = newest!("over_at IS NOT NULL");

/// What is looked through for a status: most rows have the most frequent one, and of each other there are few.
fn candidates(status: Option<MembershipStatus>) -> &'static str {
    match status {
        None | Some(MembershipStatus::Active | MembershipStatus::Joining | MembershipStatus::Gone) => NEWEST,
        Some(MembershipStatus::PastDue | MembershipStatus::Failed) => IN_GRACE,
        Some(MembershipStatus::Completed | MembershipStatus::Canceled) => OVER,
    }
}

/// A page of everybody's memberships, the newest first; of one status where it is named.
pub async fn by_status(
    tx: &mut Tx,
    now: Timestamp,
    status: Option<MembershipStatus>,
    page: &Page,
) -> Result<List<MembershipView>, DbError> {
    let (mut start, mut rows) = (page.start(), Vec::new());
    while (rows.len() as i64) < page.rows_wanted() {
        let query = tx.sql(candidates(status)).bind(start.at).bind(start.id.as_str()).bind(LOOK);
        let ids: Vec<(String,)> = query.all().await?;
        let mut is_last = (ids.len() as i64) < LOOK;
        let found = load(tx, ids).await?;
        if let Some(last) = found.last() {
            start = Position { at: last.joined_at, id: last.id.clone() };
            // Whoever began to join before that has joined or is gone.
            is_last |= status == Some(MembershipStatus::Joining) && last.joined_at < now - JOINING_LASTS;
        }
        let is_wanted = |row: &Membership| {
            let is = row.status(now);
            is != MembershipStatus::Gone && status.is_none_or(|wanted| wanted == is)
        };
        rows.extend(found.into_iter().filter(is_wanted));
        if is_last {
            break;
        }
    }
    rows.truncate(page.limit + 1);
    let list = page.list(rows, |row| Position { at: row.joined_at, id: row.id.clone() });
    Ok(List { data: views(tx, now, &list.data).await?, has_more: list.has_more, next_cursor: list.next_cursor })
}

/// The newest memberships that a customer pays for, `limit` at most.
pub async fn of_customer(
    tx: &mut Tx,
    now: Timestamp,
    customer_id: &str,
    limit: i64,
) -> Result<Vec<MembershipView>, DbError> {
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM memberships
             WHERE customer_id = $1
             ORDER BY joined_at DESC, id DESC
             LIMIT $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let mut rows = load(tx, ids).await?;
    rows.retain(|row| row.status(now) != MembershipStatus::Gone);
    views(tx, now, &rows).await
}

/// Memberships by their ids, the newest first.
async fn load(tx: &mut Tx, ids: Vec<(String,)>) -> Result<Vec<Membership>, DbError> {
    let mut rows: Vec<Membership> = tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await?;
    rows.sort_by(|a, b| (b.joined_at, &b.id).cmp(&(a.joined_at, &a.id)));
    Ok(rows)
}

async fn views(tx: &mut Tx, now: Timestamp, rows: &[Membership]) -> Result<Vec<MembershipView>, DbError> {
    let pods = pods::of_ids(tx, rows.iter().map(|row| row.pod_id.clone()).collect()).await?;
    let pods: BTreeMap<_, _> = pods.iter().map(|pod| (&pod.id, pod)).collect();
    Ok(rows.iter().filter_map(|row| Some(MembershipView::of(row, pods.get(&row.pod_id)?, now))).collect())
}

/// The statements whose texts are put together, for the test that looks at how engines carry them out.
pub const STATEMENTS: [&str; 3] = [NEWEST, IN_GRACE, OVER];
