//! What a user was told, in the application.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use tollgate_db::page::{List, Position};
use tollgate_domain::notifications;

use super::preferences::preferences_of;
use super::view::{NotificationView, NotificationsView, ReadView};
use crate::app::App;
use crate::http::auth::User;
use crate::http::body::Nothing;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::http::page::Paged;
use crate::http::query::Query;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(list, "What the user was told, the newest first, and how much of it is unread").takes([query(
            "unread",
            "Only what has not been read.",
        )
        .switch()]),
        endpoint!(read, "Marks a notification as read; again the same").refuses([no_notification()]),
        endpoint!(read_all, "Marks all that the user was told as read"),
    ]
}

#[get("/api/notifications")]
async fn list(user: User, query: Query, page: Paged, app: &State<App>) -> Result<Json<NotificationsView>, ApiError> {
    let is_unread = query.switch("unread")?;
    let mut tx = app.read_list().await?;
    let rows = notifications::of_user(&mut tx, &user.id, is_unread, &page).await?;
    let preferences = preferences_of(&mut tx, &user.id).await?;
    let unread = notifications::unread(&mut tx, &user.id).await?;
    let List { data, has_more, next_cursor } =
        page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() });
    let shown = data.into_iter().filter_map(|row| NotificationView::of(row, &app.config, &preferences));
    let list = List { data: shown.collect(), has_more, next_cursor };
    Ok(Json(NotificationsView { list, unread }))
}

#[post("/api/notifications/<id>/read", data = "<request>")]
async fn read(
    user: User,
    id: &str,
    request: IdempotentBody<Nothing>,
    app: &State<App>,
) -> Result<Answer<NotificationView>, ApiError> {
    let user = &user;
    let done = request.once(app, user, |_, _| async move {
        let mut tx = app.begin_write().await?;
        let row = notifications::note_read(&mut tx, app.clock.now(), &user.id, id).await?;
        let preferences = preferences_of(&mut tx, &user.id).await?;
        tx.commit().await?;
        let shown = row.and_then(|row| NotificationView::of(row, &app.config, &preferences));
        Ok(Answer::new(Status::Ok, &shown.ok_or_else(no_notification)?))
    });
    done.await
}

#[post("/api/notifications/read-all", data = "<request>")]
async fn read_all(
    user: User,
    request: IdempotentBody<Nothing>,
    app: &State<App>,
) -> Result<Answer<ReadView>, ApiError> {
    let user = &user;
    let done = request.once(app, user, |_, _| async move {
        let mut tx = app.begin_write().await?;
        let read = notifications::note_read_all(&mut tx, app.clock.now(), &user.id).await?;
        tx.commit().await?;
        Ok(Answer::new(Status::Ok, &ReadView { read }))
    });
    done.await
}

/// 404: there is none, or it is another's.
fn no_notification() -> ApiError {
    ApiError::not_found("such notification")
}
