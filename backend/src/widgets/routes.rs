//! The widgets of signed-in users.

use rocket::serde::json::Json;
use rocket::{State, get, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::customers;
use tollgate_domain::widgets::view::{self, WidgetView};
use tollgate_domain::widgets::{self, UnknownWidget};

use crate::app::App;
use crate::http::auth::User;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::page::Paged;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(list, "The widgets of all customers of the user, the newest first"),
        endpoint!(show, "A widget of the user's").refuses([UnknownWidget]),
        endpoint!(configure, "Gives a widget another configuration, in the place of the one that it has")
            .refuses([UnknownWidget]),
    ]
}

#[get("/api/widgets")]
async fn list(user: User, page: Paged, app: &State<App>) -> Result<Json<List<WidgetView>>, ApiError> {
    let mut tx = app.read_list().await?;
    let customers = customers::of_user(&mut tx, &user.id).await?;
    Ok(Json(view::list(&mut tx, &customers, &page).await?))
}

#[get("/api/widgets/<id>")]
async fn show(user: User, id: &str, app: &State<App>) -> Result<Json<WidgetView>, ApiError> {
    let widget = widgets::of_user(&mut app.read().await?, &user.id, id).await?;
    Ok(Json(WidgetView::of(widget.ok_or(UnknownWidget)?)))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WidgetConfiguration")]
struct Configuration {
    config: Map<String, Value>,
}

#[put("/api/widgets/<id>", data = "<body>")]
async fn configure(
    user: User,
    id: &str,
    body: JsonBody<Configuration>,
    app: &State<App>,
) -> Result<Json<WidgetView>, ApiError> {
    let config = Value::Object(body.0.config);
    let widget = widgets::of_user(&mut app.read().await?, &user.id, id).await?.ok_or(UnknownWidget)?;
    let touched = Touched::widget(&widget.customer_id, id);
    Ok(Json(app.write(&touched, |work| widgets::configure(work, &user.id, id, &config)).await?.0))
}

impl From<UnknownWidget> for ApiError {
    fn from(_: UnknownWidget) -> Self {
        Self::not_found("such widget")
    }
}
