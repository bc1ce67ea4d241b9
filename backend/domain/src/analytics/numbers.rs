//! The whole in numbers, counted at the moment: each by an index, of some thousands of rows or of the last days alone.

use std::collections::BTreeMap;

use chrono::Duration;
use tollgate_db::page::Position;
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use crate::plans::{Plan, Plans};
use crate::support::TicketStatus;

/// The statuses of a subscription that there are at Stripe.
const SUBSCRIPTION_STATUSES: [&str; 8] =
    ["trialing", "active", "past_due", "unpaid", "paused", "incomplete", "incomplete_expired", "canceled"];

/// Numbers by what they are of.
pub type Numbers = BTreeMap<String, i64>;

/// Customers by tier: those of the plans, and the default.
pub async fn tiers(tx: &mut Tx, plans: &Plans) -> Result<Numbers, DbError> {
    let mut tiers = Numbers::new();
    for tier in plans.all().iter().map(|plan| &*plan.tier).chain([plans.default_tier()]) {
        if !tiers.contains_key(tier) {
            let sql = "SELECT count(*) FROM customers WHERE tier = $1";
            let (count,) = tx.sql(sql).bind(tier).one::<(i64,)>().await?;
            tiers.insert(tier.to_owned(), count);
        }
    }
    Ok(tiers)
}

/// Subscriptions by Stripe's status; a pod's too.
pub async fn subscriptions(tx: &mut Tx) -> Result<Numbers, DbError> {
    let mut numbers = Numbers::new();
    for status in SUBSCRIPTION_STATUSES {
        let sql = "SELECT count(*) FROM subscriptions WHERE status = $1";
        let (count,) = tx.sql(sql).bind(status).one::<(i64,)>().await?;
        numbers.insert(status.to_owned(), count);
    }
    Ok(numbers)
}

/// Subscriptions that are in a status which entitles, by tier; those that no plan matches by the default one. A pod's are none.
pub async fn entitling(tx: &mut Tx, plans: &Plans) -> Result<Numbers, DbError> {
    let mut numbers = Numbers::new();
    for status in SUBSCRIPTION_STATUSES.into_iter().filter(|status| plans.is_entitled(status)) {
        let sql = if status == "past_due" && plans.past_due_days().is_some() {
            // Of those only some still entitle: whose customer has the tier.
            "SELECT s.tier, count(*)
             FROM subscriptions AS s
             JOIN customers AS c ON c.id = s.customer_id
             WHERE s.status = $1 AND s.pod_id IS NULL AND c.tier = s.tier
             GROUP BY s.tier"
        } else {
            "SELECT tier, count(*) FROM subscriptions WHERE status = $1 AND pod_id IS NULL GROUP BY tier"
        };
        let rows: Vec<(Option<String>, i64)> = tx.sql(sql).bind(status).all().await?;
        for (tier, count) in rows {
            let tier = tier.unwrap_or_else(|| plans.default_tier().to_owned());
            *numbers.entry(tier).or_default() += count;
        }
    }
    Ok(numbers)
}

/// Licences by status.
pub async fn licenses(tx: &mut Tx) -> Result<Numbers, DbError> {
    let mut numbers = Numbers::new();
    for status in ["active", "suspended", "expired", "revoked"] {
        let sql = "SELECT count(*) FROM licenses WHERE status = $1";
        let (count,) = tx.sql(sql).bind(status).one::<(i64,)>().await?;
        numbers.insert(status.to_owned(), count);
    }
    Ok(numbers)
}

/// Memberships by what they are at `now`, as [`Membership::status`](crate::memberships::Membership::status) says.
pub async fn memberships(tx: &mut Tx, now: Timestamp) -> Result<Numbers, DbError> {
    let rows: Vec<(String, i64)> = tx
        .sql(
            "SELECT status, count(*)
             FROM (SELECT CASE
                          WHEN over_at IS NULL AND subscription_id IS NULL AND joining_until > $1 THEN 'joining'
                          WHEN over_at IS NULL AND subscription_id IS NULL THEN 'gone'
                          WHEN over_at IS NULL AND grace_ends_at > $1 THEN 'past_due'
                          WHEN over_at IS NULL AND grace_ends_at IS NOT NULL THEN 'failed'
                          WHEN over_at IS NULL THEN 'active'
                          WHEN contribution_progress >= contributions_total THEN 'completed'
                          WHEN is_over_in_time AND grace_ends_at > $1 THEN 'past_due'
                          WHEN is_over_in_time AND pending_amount > 0 THEN 'active'
                          ELSE 'canceled'
                          END AS status
                   FROM memberships
                   WHERE joined_at > $2) AS standing
             GROUP BY status",
        )
        .bind(now)
        .bind(Timestamp::UNIX_EPOCH)
        .all()
        .await?;
    let shown = ["joining", "active", "past_due", "failed", "completed", "canceled"].map(|name| (name.to_owned(), 0));
    let mut numbers = Numbers::from(shown);
    for (status, count) in rows {
        numbers.entry(status).and_modify(|number| *number = count);
    }
    Ok(numbers)
}

/// Tickets by status.
pub async fn tickets(tx: &mut Tx) -> Result<Numbers, DbError> {
    let mut numbers = Numbers::new();
    for status in TicketStatus::ALL.map(TicketStatus::name) {
        let sql = "SELECT count(*) FROM support_tickets WHERE status = $1";
        let (count,) = tx.sql(sql).bind(status).one::<(i64,)>().await?;
        numbers.insert(status.to_owned(), count);
    }
    Ok(numbers)
}

/// Machines that hold seats.
pub async fn machines(tx: &mut Tx) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM machines WHERE seat_of > ''";
    Ok(tx.sql(sql).one::<(i64,)>().await?.0)
}

/// Machines that hold seats and were last heard of since a moment, and before another one where there is one.
pub async fn machines_seen(tx: &mut Tx, since: Timestamp, until: Option<Timestamp>) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM machines WHERE seat_of > '' AND last_seen_at >= $1 AND last_seen_at < $2";
    let until = until.unwrap_or_else(|| Position::end().at);
    Ok(tx.sql(sql).bind(since).bind(until).one::<(i64,)>().await?.0)
}

/// Machines whose app was heard of after `since`.
pub async fn connected(tx: &mut Tx, since: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM sessions WHERE stale_at IS NULL AND last_seen_at > $1";
    Ok(tx.sql(sql).bind(since).one::<(i64,)>().await?.0)
}

/// What subscriptions that entitle bring in a month, by currency: price times quantity of plans that say what they cost.
pub async fn monthly_revenue(tx: &mut Tx, plans: &Plans) -> Result<Numbers, DbError> {
    let mut monthly: BTreeMap<String, f64> = BTreeMap::new();
    for status in SUBSCRIPTION_STATUSES.into_iter().filter(|status| plans.is_entitled(status)) {
        let rows: Vec<(String, i64)> = if status == "past_due" && plans.past_due_days().is_some() {
            // Of those only some still entitle: whose customer has the tier.
            tx.sql(
                "SELECT s.plan_id, CAST(sum(COALESCE(s.quantity, 1)) AS BIGINT)
                 FROM subscriptions AS s
                 JOIN customers AS c ON c.id = s.customer_id
                 WHERE s.status = $1 AND s.pod_id IS NULL AND s.plan_id IS NOT NULL AND c.tier = s.tier
                 GROUP BY s.plan_id",
            )
            .bind(status)
            .all()
            .await?
        } else {
            tx.sql(
                "SELECT plan_id, CAST(sum(COALESCE(quantity, 1)) AS BIGINT)
                 FROM subscriptions
                 WHERE status = $1 AND pod_id IS NULL AND plan_id IS NOT NULL
                 GROUP BY plan_id",
            )
            .bind(status)
            .all()
            .await?
        };
        for (plan_id, quantity) in rows {
            let plan = plans.by_id(&plan_id);
            if let Some((currency, amount)) = plan.and_then(a_month) {
                *monthly.entry(currency.to_owned()).or_default() += amount * quantity as f64;
            }
        }
    }
    Ok(monthly.into_iter().map(|(currency, amount)| (currency, amount.round() as i64)).collect())
}

/// What one unit of a plan costs a month, in minor units.
fn a_month(plan: &Plan) -> Option<(&str, f64)> {
    let months = match plan.interval.as_deref()? {
        "month" => 1.0,
        "year" => 1.0 / 12.0,
        "week" => 52.0 / 12.0,
        "day" => 365.0 / 12.0,
        _ => return None,
    };
    Some((plan.currency.as_deref()?, plan.unit_amount? as f64 * months))
}

/// What was paid since a moment, by currency, gross.
pub async fn paid_since(tx: &mut Tx, since: Timestamp) -> Result<Numbers, DbError> {
    let rows: Vec<(String, i64)> = tx
        .sql(
            "SELECT currency, CAST(sum(amount) AS BIGINT)
             FROM payments
             WHERE paid_at >= $1 AND status = 'succeeded' AND belongs_to IS NULL AND currency IS NOT NULL
             GROUP BY currency",
        )
        .bind(since)
        .all()
        .await?;
    Ok(rows.into_iter().collect())
}

/// Memberships in grace.
pub async fn in_grace(tx: &mut Tx, now: Timestamp) -> Result<i64, DbError> {
    let (count,) = tx
        .sql(
            "SELECT count(*)
             FROM memberships
             WHERE joined_at > $2 AND grace_ends_at > $1 AND subscription_id IS NOT NULL
               AND (over_at IS NULL OR is_over_in_time AND contribution_progress < COALESCE(contributions_total, 0))",
        )
        .bind(now)
        .bind(Timestamp::UNIX_EPOCH)
        .one::<(i64,)>()
        .await?;
    Ok(count)
}

/// Of what first failed to be paid within 30 days: how much was paid after all, and how much is settled by now, or its grace
/// over.
pub async fn retries_settled(tx: &mut Tx, now: Timestamp, past_due_days: Option<u32>) -> Result<(i64, i64), DbError> {
    let since = now - Duration::days(30);
    // What failed before that has no grace left.
    let grace_began = past_due_days.map_or(Timestamp::UNIX_EPOCH, |days| now - Duration::days(days.into()));
    let (paid, settled) = tx
        .sql(
            "SELECT count(*) FILTER (WHERE status = 'paid'),
                    count(*) FILTER (WHERE status IN ('paid', 'void', 'uncollectible') OR first_failed_at <= $2)
             FROM invoices
             WHERE first_failed_at >= $1 AND pod_id IS NULL",
        )
        .bind(since)
        .bind(grace_began)
        .one::<(i64, i64)>()
        .await?;
    let (paid_into_pods, settled_of_pods) = tx
        .sql(
            "SELECT count(*) FILTER (WHERE c.status IN ('succeeded', 'refunded')),
                    count(*) FILTER (WHERE c.status IN ('succeeded', 'refunded', 'void', 'uncollectible')
                                        OR m.grace_ends_at <= $2)
             FROM contributions AS c
             JOIN memberships AS m ON m.id = c.membership_id
             WHERE c.first_failed_at >= $1",
        )
        .bind(since)
        .bind(now)
        .one::<(i64, i64)>()
        .await?;
    Ok((paid + paid_into_pods, settled + settled_of_pods))
}
