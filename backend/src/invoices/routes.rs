//! The invoices of a user.

use rocket::serde::json::Json;
use rocket::{State, get};
use tollgate_db::page::List;
use tollgate_domain::customers;
use tollgate_domain::invoices::history::{self, InvoiceView};

use crate::app::App;
use crate::http::auth::User;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::page::Paged;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(list, "The invoices of all customers of the user, the newest first"),
        endpoint!(list_of_subscriptions, "The invoices of all customers of the user, by another name"),
    ]
}

#[get("/api/invoices/history")]
async fn list(user: User, page: Paged, app: &State<App>) -> Result<Json<List<InvoiceView>>, ApiError> {
    let mut tx = app.read_list().await?;
    let customers = customers::of_user(&mut tx, &user.id).await?;
    Ok(Json(history::list(&mut tx, &customers, &page).await?))
}

#[get("/api/subscriptions/billing-history")]
async fn list_of_subscriptions(user: User, page: Paged, app: &State<App>) -> Result<Json<List<InvoiceView>>, ApiError> {
    list(user, page, app).await
}
