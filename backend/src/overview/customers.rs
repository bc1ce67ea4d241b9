//! Customers, for operators: those that are asked for, one with what happened to it, and what is done with one.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::Cause;
use tollgate_domain::audit::acts::{self, Act};
use tollgate_domain::customers::{self, AlreadyLinked, Customer};
use tollgate_domain::entitlements;
use tracing::info;

use super::customer_list::{self, CustomerSummary, Filter};
use super::one_customer::{self, WholeCustomer};
use crate::app::App;
use crate::audit::looks;
use crate::billing::sync::{self, Synced};
use crate::customers::routes::{no_such_customer, readable_user_id};
use crate::http::auth::Operator;
use crate::http::body::{JsonBody, OptionalJsonBody};
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::{Paged, not_of_this_list};
use crate::http::query::Query;
use crate::http::reason::{self, MaybeReason};
use crate::http::stripe::failures;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let filter = [
        query("q", "An id of Stripe's or of a user, an e-mail address, or how a name begins."),
        query("tier", "What they may use."),
        query("status", "Stripe's status of their current subscription."),
    ];
    vec![
        endpoint!(list, "Customers, the newest first; where something is looked for, what it names and then by name")
            .takes(filter),
        endpoint!(show, "One customer with all that is theirs, and the newest of what happened; that somebody saw the keys is in the audit trail")
            .refuses([no_such_customer()]),
        endpoint!(sync_one, "Brings one customer and its subscriptions into step with Stripe")
            .refuses([no_such_customer()])
            .refuses(failures()),
        endpoint!(link, "Says whose customer one is, against whatever its objects at Stripe say, and for good")
            .refuses([no_such_customer(), AlreadyLinked.into()]),
    ]
}

#[get("/api/admin/customers")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<CustomerSummary>>, ApiError> {
    let text = |name| query.text(name).map(str::to_owned);
    let filter = Filter { text: text("q"), tier: text("tier"), status: text("status") };
    let listed = customer_list::list(&mut app.read_list().await?, &filter, &page).await?;
    listed.map(Json).ok_or_else(not_of_this_list)
}

#[get("/api/admin/customers/<id>")]
async fn show(
    operator: Operator,
    id: &str,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<WholeCustomer>, ApiError> {
    whole(operator, id, context, app).await.map(Json)
}

/// One customer with its keys, which are handed out once it is on record who saw them.
async fn whole(operator: Operator, id: &str, context: &RequestContext, app: &App) -> Result<WholeCustomer, ApiError> {
    let customer = one_customer::load(&mut app.read_list().await?, app, id).await?.ok_or_else(no_such_customer)?;
    looks::note(app, &operator.acting(context, None), "customer.look", ("customer", id)).await?;
    Ok(customer)
}

#[post("/api/admin/customers/<id>/sync", data = "<body>")]
async fn sync_one(
    operator: Operator,
    id: &str,
    body: OptionalJsonBody<MaybeReason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<Synced>, ApiError> {
    let account = account_of(app, id).await?;
    let by = operator.acting(context, body.0.readable()?);
    let synced = sync::customer_in_step(app, id, account.as_deref(), |work, found| {
        let after = json!({ "differences": found.len() });
        acts::record(
            work,
            &by,
            Act { action: "customer.sync", target: ("customer", id), before: None, after: Some(after) },
        );
    });
    let synced = synced.await?;
    info!(request_id = %context.request_id, "brought customer {id} into step with Stripe");
    Ok(Json(synced))
}

/// The connected account whose customer it is, of one that is known.
async fn account_of(app: &App, id: &str) -> Result<Option<String>, ApiError> {
    let mut tx = app.read().await?;
    let row: Option<(Option<String>,)> =
        tx.sql("SELECT account FROM customers WHERE id = $1").bind(id).optional().await?;
    row.map(|(account,)| account).ok_or_else(no_such_customer)
}

/// Whose customer it is, and how that is known.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomerLinkWithReason")]
struct Link {
    user_id: String,
    reason: String,
}

#[post("/api/admin/customers/<id>/link", data = "<body>")]
async fn link(
    operator: Operator,
    id: &str,
    body: JsonBody<Link>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<WholeCustomer>, ApiError> {
    let user_id = readable_user_id(&body.0.user_id)?;
    let by = operator.clone().acting(context, Some(reason::readable(&body.0.reason)?));
    account_of(app, id).await?;
    app.write(&Touched::customer(id), |work| {
        let user_of = |row: Option<&Customer>| json!({ "userId": row.and_then(|row| row.user_id.clone()) });
        let is_linked = |row: &Customer| row.user_claims.link.is_some();
        let (before, was_linked) = (user_of(work.get(id)), work.get(id).is_some_and(is_linked));
        customers::link(work, &app.settings.plans, id, user_id)?;
        if !was_linked {
            entitlements::follow(work, &app.settings, Cause::operator(), id);
            let after = Some(user_of(work.get(id)));
            let target = ("customer", id);
            acts::record(work, &by, Act { action: "customer.link", target, before: Some(before), after });
        }
        Ok::<_, AlreadyLinked>(())
    })
    .await?;
    info!(request_id = %context.request_id, "linked customer {id} to its user");
    whole(operator, id, context, app).await.map(Json)
}
