//! How many there are of what changes slowly, as metrics. Counting takes longer than a scrape should wait.

use tollgate_db::DbError;
use tollgate_domain::analytics::numbers;

use crate::app::App;

/// Counts them.
pub async fn show(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let mut tx = app.read_list().await?;
    for (status, count) in numbers::subscriptions(&mut tx).await? {
        metrics::gauge!("tollgate_backend_subscriptions", "status" => status).set(count as f64);
    }
    for (status, count) in numbers::memberships(&mut tx, now).await? {
        metrics::gauge!("tollgate_backend_memberships", "status" => status).set(count as f64);
    }
    metrics::gauge!("tollgate_backend_memberships_in_grace").set(numbers::in_grace(&mut tx, now).await? as f64);
    for (status, count) in numbers::tickets(&mut tx).await? {
        metrics::gauge!("tollgate_backend_tickets", "status" => status).set(count as f64);
    }
    Ok(())
}
