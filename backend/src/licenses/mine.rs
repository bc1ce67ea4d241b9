//! What signed-in users see of their licences, and which machines they free.

use std::collections::BTreeSet;

use rocket::response::status::NoContent;
use rocket::serde::json::Json;
use rocket::{State, delete, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::Lock;
use tollgate_domain::apply::Touched;
use tollgate_domain::customers;
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::licenses::seats::{self, DeactivationReason};
use tollgate_domain::licenses::view::HeldLicenseView;
use tracing::info;

use super::store;
use crate::app::App;
use crate::http::auth::User;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(list, "The licences of all customers of the user, in order of making, with keys and machines"),
        endpoint!(
            free_machine,
            "Frees the seat that a machine of the user's holds; one that holds none stays as it is"
        )
        .refuses([no_such_machine()]),
    ]
}

/// Every licence of a user: there are as many as the user has customers, so that they need no pages.
#[derive(Serialize, JsonSchema)]
struct Licenses {
    data: Vec<HeldLicenseView>,
}

#[get("/api/license")]
async fn list(user: User, app: &State<App>) -> Result<Json<Licenses>, ApiError> {
    let mut tx = app.read().await?;
    let customers = customers::of_user(&mut tx, &user.id).await?.into_iter().collect();
    let licenses: Vec<License> = tx.load("customer_id", &customers, Lock::None).await?;
    let ids: BTreeSet<_> = licenses.iter().map(|license| license.id.clone()).collect();
    let machines: Vec<Machine> = machines::in_seats_of(&mut tx, &ids, Lock::None).await?;
    let (now, stale_after) = (app.clock.now(), app.settings.machines_stale_after);
    let view = |license: &License| {
        let machines = machines.iter().filter(|machine| machine.license_id == license.id);
        HeldLicenseView::of(license, &app.settings.plans, machines, now, stale_after)
    };
    Ok(Json(Licenses { data: licenses.iter().map(view).collect() }))
}

#[delete("/api/license/machines/<id>")]
async fn free_machine(user: User, id: &str, app: &State<App>) -> Result<NoContent, ApiError> {
    let holder = store::holder_of(&mut app.read().await?, id).await?;
    let holder = holder.filter(|holder| holder.user_id.as_ref() == Some(&user.id));
    let license_id = holder.ok_or_else(no_such_machine)?.license_id;
    let touched = Touched::license(&license_id);
    let freed = app.write(&touched, |work| {
        let holds_a_seat = work.get::<Machine>(id).is_some_and(|machine| machine.seat_of.is_some());
        seats::deactivate(work, app.settings.machines_stale_after, id, DeactivationReason::User);
        Ok::<_, ApiError>(holds_a_seat)
    });
    if freed.await?.0 {
        info!(license.id = %license_id, machine.id = %id, "deactivated machine {id} of licence {license_id}");
    }
    Ok(NoContent)
}

/// 404: there is no such machine, or it is somebody else's.
pub(super) fn no_such_machine() -> ApiError {
    ApiError::not_found("such machine")
}
