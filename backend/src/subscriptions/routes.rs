//! What a user has and could have, and how that came.

use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::Lock;
use tollgate_db::page::{List, Position};
use tollgate_domain::audit::history::{self, ChangeView};
use tollgate_domain::customers;
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::licenses::view::HeldLicenseView;
use tollgate_domain::plans::view::PlanView;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_domain::user_state;
use tollgate_shared::Timestamp;

use crate::app::App;
use crate::http::auth::User;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::page::{self, Paged};

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(plans, "What is on sale, in the order of the operator's file"),
        endpoint!(current, "What the user has, over all of its customers"),
        endpoint!(changes, "What changed of the user's subscriptions, and by whom, the newest first"),
    ]
}

#[get("/api/subscriptions/plans")]
async fn plans(user: User, page: Paged, app: &State<App>) -> Result<Json<List<PlanView>>, ApiError> {
    let all = app.settings.plans.all();
    let begin = match &page.after {
        Some(last) => all.iter().position(|plan| plan.id == last.id).ok_or_else(page::not_of_this_list)? + 1,
        None => 0,
    };
    let state = user_state::load(&mut app.read().await?, &app.settings, app.clock.now(), &user.id).await?;
    let rows = all[begin..].iter().collect();
    // They have no time: the file has an order of its own.
    let list = page.list(rows, |plan| Position { at: Timestamp::UNIX_EPOCH, id: plan.id.clone() });
    Ok(Json(list.map(|plan| PlanView::of(plan, state.plan_id.as_deref()))))
}

/// What a user has.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CurrentSubscription")]
struct Current {
    subscription: Option<PlannedSubscriptionView>,
    plan: Option<PlanView>,
    tier: String,
    license: Option<HeldLicenseView>,
}

#[get("/api/subscriptions/current")]
async fn current(user: User, app: &State<App>) -> Result<Json<Current>, ApiError> {
    let (now, plans) = (app.clock.now(), &*app.settings.plans);
    let mut tx = app.read().await?;
    let state = user_state::load(&mut tx, &app.settings, now, &user.id).await?;
    let ids = state.license.iter().map(|license| license.id.clone()).collect();
    let machines: Vec<Machine> = machines::in_seats_of(&mut tx, &ids, Lock::None).await?;
    let stale_after = app.settings.machines_stale_after;
    let license = |license| HeldLicenseView::of(license, plans, &machines, now, stale_after);
    let plan = state.plan_id.as_deref().and_then(|id| plans.by_id(id));
    Ok(Json(Current {
        subscription: state.subscription.as_ref().map(|row| PlannedSubscriptionView::of(row, plans)),
        plan: plan.map(|plan| PlanView::of(plan, Some(&plan.id))),
        license: state.license.as_ref().map(license),
        tier: state.tier,
    }))
}

#[get("/api/subscriptions/history")]
async fn changes(user: User, page: Paged, app: &State<App>) -> Result<Json<List<ChangeView>>, ApiError> {
    if page.after.as_ref().is_some_and(|after| !history::is_position(after)) {
        return Err(page::not_of_this_list());
    }
    let mut tx = app.read_list().await?;
    let customers = customers::of_user(&mut tx, &user.id).await?;
    Ok(Json(history::list(&mut tx, &customers, &page).await?))
}
