//! The audit trail, for operators.

use rocket::serde::json::Json;
use rocket::{Route, State, get, routes};
use tollgate_db::page::List;

use super::view::{self, ActView, Filter};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::error::ApiError;
use crate::http::page;
use crate::http::query::Query;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![list]
}

/// What operators did, the newest first.
#[get("/api/admin/audit")]
async fn list(_operator: Operator, query: Query, app: &State<App>) -> Result<Json<List<ActView>>, ApiError> {
    let text = |name| query.text(name).map(str::to_owned);
    let filter = Filter {
        actor: text("actor"),
        action: text("action"),
        target: text("target"),
        from: query.time("from")?,
        to: query.time("to")?,
    };
    let page = page::requested(&query)?;
    let mut tx = app.read_list().await?;
    Ok(Json(view::list(&mut tx, &filter, &page).await?))
}
