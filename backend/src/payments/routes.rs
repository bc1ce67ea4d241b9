//! The payments of a user.

use rocket::serde::json::Json;
use rocket::{Route, State, get, routes};
use tollgate_db::page::List;
use tollgate_domain::customers;
use tollgate_domain::payments::history::{self, PaymentView};

use crate::app::App;
use crate::http::auth::User;
use crate::http::error::ApiError;
use crate::http::page;
use crate::http::query::Query;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![list]
}

/// The payments of all customers of the user, the newest first.
#[get("/api/payments/history")]
async fn list(user: User, query: Query, app: &State<App>) -> Result<Json<List<PaymentView>>, ApiError> {
    let page = page::requested(&query)?;
    let mut tx = app.read_list().await?;
    let customers = customers::of_user(&mut tx, &user.id).await?;
    Ok(Json(history::list(&mut tx, &customers, &page).await?))
}
