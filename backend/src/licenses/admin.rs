//! Licences, for operators: which there are, what one was told, and what is done with one: take it away, give it back, free
//! a machine's seat.

use rocket::response::status::NoContent;
use rocket::serde::json::Json;
use rocket::{State, delete, get, post};
use serde_json::json;
use tollgate_db::UnitOfWork;
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::acts::{self, Act};
use tollgate_domain::entitlements::revocation::{self, UnknownLicense};
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::licenses::seats::{self, DeactivationReason};
use tollgate_domain::licenses::view::HeldLicenseView;
use tracing::info;

use super::list::{self as licenses, Filter, OwnedLicenseView, WholeLicenseView};
use super::mine::no_such_machine;
use super::store;
use crate::app::App;
use crate::audit::looks;
use crate::http::auth::Operator;
use crate::http::body::{JsonBody, OptionalJsonBody};
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;
use crate::http::reason::{MaybeReason, Reason};

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let filter = [
        query("q", "The id of a licence or a customer, a whole key, or an e-mail address."),
        query("status", "How they stand.").one_of(&STATUSES),
    ];
    vec![
        endpoint!(list, "Licences, the newest first; of a key the last four characters").takes(filter),
        endpoint!(
            show,
            "One licence with its key, and what its machines were told; that somebody saw the key is in the audit trail"
        )
        .refuses([UnknownLicense]),
        endpoint!(revoke, "Takes a licence away").refuses([UnknownLicense]),
        endpoint!(reinstate, "Gives a licence back that was taken away: it follows its subscription again")
            .refuses([UnknownLicense]),
        endpoint!(free_machine, "Frees the seat that a machine holds; one that holds none stays as it is")
            .refuses([no_such_machine()]),
    ]
}

/// What a licence may be.
const STATUSES: [&str; 4] = ["active", "suspended", "expired", "revoked"];

#[get("/api/admin/licenses")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<OwnedLicenseView>>, ApiError> {
    let named = |name: &str| STATUSES.contains(&name).then(|| name.to_owned());
    let status = query.read("status", "`active`, `suspended`, `expired` or `revoked`", named)?;
    let filter = Filter { text: query.text("q").map(str::to_owned), status };
    let mut tx = app.read_list().await?;
    Ok(Json(licenses::list(&mut tx, app, &filter, &page).await?))
}

#[get("/api/admin/licenses/<id>")]
async fn show(
    operator: Operator,
    id: &str,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<WholeLicenseView>, ApiError> {
    let license = licenses::find(&mut app.read().await?, app, id).await?.ok_or(UnknownLicense)?;
    looks::note(app, &operator.acting(context, None), "license.look", ("license", id)).await?;
    Ok(Json(license))
}

#[post("/api/admin/licenses/<id>/revoke", data = "<body>")]
async fn revoke(
    operator: Operator,
    id: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<HeldLicenseView>, ApiError> {
    let by = operator.acting(context, Some(body.0.readable()?));
    let license = act(app, id, |work| revocation::revoke(work, &app.settings, &by, id)).await?;
    info!(request_id = %context.request_id, license.id = %id, "revoked licence {id}");
    Ok(license)
}

#[post("/api/admin/licenses/<id>/reinstate", data = "<body>")]
async fn reinstate(
    operator: Operator,
    id: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<HeldLicenseView>, ApiError> {
    let by = operator.acting(context, Some(body.0.readable()?));
    let license = act(app, id, |work| revocation::reinstate(work, &app.settings, &by, id)).await?;
    info!(request_id = %context.request_id, license.id = %id, "reinstated licence {id}");
    Ok(license)
}

#[delete("/api/admin/licenses/<id>/machines/<machine_id>", data = "<body>")]
async fn free_machine(
    operator: Operator,
    id: &str,
    machine_id: &str,
    body: OptionalJsonBody<MaybeReason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<NoContent, ApiError> {
    let by = operator.acting(context, body.0.readable()?);
    let held_by = store::holder_of(&mut app.read().await?, machine_id).await?;
    held_by.filter(|holder| holder.license_id == id).ok_or_else(no_such_machine)?;
    app.write(&Touched::license(id), |work| {
        if work.get::<Machine>(machine_id).is_some_and(|machine| machine.seat_of.is_some()) {
            seats::deactivate(work, app.settings.machines_stale_after, machine_id, DeactivationReason::Operator);
            let before = Some(json!({ "licenseId": id }));
            let target = ("machine", machine_id);
            acts::record(work, &by, Act { action: "machine.deactivate", target, before, after: None });
        }
        Ok::<_, ApiError>(())
    })
    .await?;
    Ok(NoContent)
}

/// Lets `rule` change a licence, with its customer; gives the licence as it is then.
async fn act(
    app: &App,
    id: &str,
    mut rule: impl FnMut(&mut UnitOfWork) -> Result<(), UnknownLicense> + Send,
) -> Result<Json<HeldLicenseView>, ApiError> {
    let customer_id = store::customer_of(&mut app.read().await?, id).await?.ok_or(UnknownLicense)?;
    let touched = Touched::customer(&customer_id);
    let acted = app.write(&touched, |work| {
        rule(work)?;
        let license: License = work.get_cloned(id).ok_or(UnknownLicense)?;
        let machines = machines::of_license(work, id);
        let stale_after = app.settings.machines_stale_after;
        Ok::<_, UnknownLicense>(HeldLicenseView::of(&license, &app.settings.plans, machines, work.now(), stale_after))
    });
    Ok(Json(acted.await?.0))
}

impl From<UnknownLicense> for ApiError {
    fn from(_: UnknownLicense) -> Self {
        Self::not_found("such licence")
    }
}
