//! To leave a pod.

use rocket::http::Status;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::leaving::{self, NotAMember};
use tollgate_domain::memberships::view::Viewer;
use tollgate_domain::{memberships, pods};

use super::at_stripe::Teller;
use super::view::LeftView;
use super::{no_pod, visible};
use crate::app::App;
use crate::http::auth::User;
use crate::http::error::ApiError;
use crate::http::idempotency::Answer;
use crate::http::reason;

/// A body of `POST /api/pods/{id}/leave`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "LeaveRequest")]
pub(super) struct Leave {
    #[serde(default)]
    immediately: bool,
    reason: Option<String>,
}

/// Ends the user's part in a pod, with the period or at once.
pub(super) async fn leave(app: &App, user: &User, id: &str, body: Leave) -> Result<Answer<LeftView>, ApiError> {
    let teller = Teller::open(app)?;
    let reason = reason::comment(body.reason)?;
    let pod = visible(app, id, Viewer::User(&user.id), None).await?;
    let own = memberships::of_user_in(&mut app.read().await?, id, &user.id).await?;
    let now = app.clock.now();
    let member = own.into_iter().find(|row| row.status(now).holds_a_seat()).ok_or(NotAMember)?;
    let touched = Touched::membership(&member.id, member.customer_id.as_deref());
    let rule = app.write(&touched, |work| leaving::leave(work, &member.id, body.immediately, reason.as_deref()));
    let (what, _) = rule.await?;
    let is_written = match teller.carry_out(&member.id, &what).await? {
        Some(seen) => teller.take_in(&seen, &member.id).await?,
        None => true,
    };
    let mut tx = app.read().await?;
    let row = memberships::get(&mut tx, &member.id).await?.unwrap_or(member);
    let pod = pods::get(&mut tx, &pod.id).await?.ok_or_else(no_pod)?;
    let view = LeftView::of(&row, &pod, now, !is_written);
    Ok(Answer::new(if is_written { Status::Ok } else { Status::Accepted }, &view))
}

impl From<NotAMember> for ApiError {
    fn from(_: NotAMember) -> Self {
        Self::not_found("membership of yours in this pod")
    }
}
