//! How it all stands, in numbers.

use chrono::Duration;
use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_domain::analytics::numbers::{self, Numbers};
use tollgate_domain::dead_letters;
use tollgate_domain::sessions::SUSPECT_AFTER;
use tollgate_shared::clock::rfc3339;

use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::payments::tried;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![endpoint!(stats, "How it all stands, in numbers")]
}

/// How it all stands. What is an object holds numbers by status, tier or source, or amounts by currency.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Stats")]
struct StatsView {
    customers: i64,
    tiers: Numbers,
    subscriptions: Numbers,
    licenses: Numbers,
    memberships: Numbers,
    /// The machines that hold seats.
    machines: i64,
    /// Those of the machines whose app is there.
    connected: i64,
    /// What subscriptions bring in a month.
    mrr: Numbers,
    paid24h: Numbers,
    paid30d: Numbers,
    payments24h: PaymentsView,
    /// The memberships in grace.
    in_grace: i64,
    /// Of what failed within 30 days and is settled: how much was paid after all, 0 to 1.
    retry_success_rate: Option<f64>,
    dead_letters: Numbers,
    tickets: Numbers,
    generated_at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PaymentNumbers")]
struct PaymentsView {
    succeeded: i64,
    failed: i64,
}

#[get("/api/admin/stats")]
async fn stats(_operator: Operator, app: &State<App>) -> Result<Json<StatsView>, ApiError> {
    Ok(Json(count(&mut app.read_list().await?, app).await?))
}

async fn count(tx: &mut Tx, app: &App) -> Result<StatsView, DbError> {
    let (now, plans) = (app.clock.now(), &*app.settings.plans);
    let (day, month) = (now - Duration::hours(24), now - Duration::days(30));
    let tiers = numbers::tiers(tx, plans).await?;
    let (succeeded, failed) = tried::since(tx, day).await?;
    let (paid, settled) = numbers::retries_settled(tx, now, plans.past_due_days()).await?;
    Ok(StatsView {
        customers: tiers.values().sum(),
        tiers,
        subscriptions: numbers::subscriptions(tx).await?,
        licenses: numbers::licenses(tx).await?,
        memberships: numbers::memberships(tx, now).await?,
        machines: numbers::machines(tx).await?,
        connected: numbers::connected(tx, now - SUSPECT_AFTER).await?,
        mrr: numbers::monthly_revenue(tx, plans).await?,
        paid24h: numbers::paid_since(tx, day).await?,
        paid30d: numbers::paid_since(tx, month).await?,
        payments24h: PaymentsView { succeeded, failed },
        in_grace: numbers::in_grace(tx, now).await?,
        retry_success_rate: (settled > 0).then(|| paid as f64 / settled as f64),
        dead_letters: dead_letters::open_by_source(tx).await?.into_iter().collect(),
        tickets: numbers::tickets(tx).await?,
        generated_at: rfc3339(now),
    })
}
