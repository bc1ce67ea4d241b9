//! The audit trail, for operators.

use rocket::serde::json::Json;
use rocket::{State, get};
use tollgate_db::page::List;

use super::view::{self, ActView, Filter};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let filter = [
        query("actor", "Who did it."),
        query("action", "What was done: `license.revoke` …"),
        query("target", "The id of what it was done to."),
        query("from", "Not before this moment.").time(),
        query("to", "Before this moment.").time(),
    ];
    vec![endpoint!(list, "What operators did, the newest first").takes(filter)]
}

#[get("/api/admin/audit")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<ActView>>, ApiError> {
    let text = |name| query.text(name).map(str::to_owned);
    let filter = Filter {
        actor: text("actor"),
        action: text("action"),
        target: text("target"),
        from: query.time("from")?,
        to: query.time("to")?,
    };
    let mut tx = app.read_list().await?;
    Ok(Json(view::list(&mut tx, &filter, &page).await?))
}
