//! `/api/admin/messages`: what became of messages, for operators.

use rocket::serde::json::Json;
use rocket::{State, get};
use tollgate_db::page::List;
use tollgate_domain::notifications::sending::Status;
use tollgate_domain::notifications::view::{self, MessageView};
use tollgate_domain::notifications::{Channel, Filter, Template};

use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let filter = [
        query("status", "What they have come to.").one_of(&Status::ALL.map(Status::name)),
        query("channel", "How they go.").one_of(&Channel::ALL.map(Channel::name)),
        query("userId", "Whom they are for."),
        query("template", "What they tell of.").one_of(&Template::ALL.map(Template::name)),
    ];
    vec![
        endpoint!(list, "Messages to users, the newest first: neither where they went nor what they said")
            .takes(filter),
    ]
}

#[get("/api/admin/messages")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<MessageView>>, ApiError> {
    let filter = Filter {
        status: query.read("status", "`queued`, `sent`, `skipped` or `dead_lettered`", Status::named)?,
        channel: query.read("channel", "`email` or `push`", Channel::named)?,
        user_id: query.text("userId").map(str::to_owned),
        template: query.read("template", "the name of a template, such as `grace_ending`", Template::named)?,
    };
    let mut tx = app.read_list().await?;
    Ok(Json(view::messages(&mut tx, &filter, &page).await?))
}
