//! When an operator changes `plans.toml`, what customers may use changes with it: every customer is recomputed, page by
//! page, so that nobody waits for the next event.

use std::sync::Arc;
use std::time::Duration;

use tollgate_db::DbError;
use tollgate_domain::entitlements::{self, store};
use tracing::info;

use super::follow::{InTrouble, PAGE};
use crate::app::App;

/// How often to look: a replica that has other plans may have written any customer meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Starts the job.
pub fn start(app: &App) {
    let (tasks, app) = (app.tasks.clone(), app.clone());
    let in_trouble = Arc::<InTrouble>::default();
    tasks.every("reapply-plans", LOOK_INTERVAL, move || {
        let (app, in_trouble) = (app.clone(), in_trouble.clone());
        async move { run(&app, &in_trouble).await.map(drop) }
    });
}

/// Recomputes every customer whose rows were computed by other plans than ours; gives how many there were. Of two
/// replicas with two sets of plans each takes what the other has written, until one of them is gone.
async fn run(app: &App, in_trouble: &InTrouble) -> Result<usize, DbError> {
    let digest = app.settings.plans.digest();
    let (mut recomputed, mut after) = (0, None);
    loop {
        let mut tx = app.read().await?;
        let page = store::computed_by_other_plans(&mut tx, digest, after.as_ref(), PAGE).await?;
        drop(tx);
        let Some(last) = page.last().cloned() else { break };
        after = Some(last);
        let customers = page.into_iter().map(|(_, id)| id).collect();
        let follow = in_trouble.follow(app, customers, |work, customer| {
            entitlements::reapply_plans(work, &app.settings, customer);
        });
        recomputed += follow.await?;
    }
    if recomputed > 0 {
        info!(customers = recomputed, "plans changed: recomputed {recomputed} customers");
    }
    Ok(recomputed)
}
