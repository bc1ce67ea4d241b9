//! Groups that save together: what users, operators and services of the company ask of them, and what is done for them at
//! Stripe.
//!
//! A seat is taken and committed before Stripe is asked, and what Stripe answered is taken in as an observation, by the same
//! rules as its event. So whatever fails in between, the event, the next try or a job brings it right.

mod admin;
mod at_stripe;
pub mod by_time;
mod invoices;
mod joining;
mod leaving;
pub mod moving;
mod new_pod;
pub mod owed;
mod payer;
mod reports;
mod retrying;
pub mod rounds;
mod routes;
mod services;
#[cfg(test)]
mod tests;
pub mod tries;
mod view;

use std::convert::Infallible;

use tollgate_db::{DbError, UnitOfWork};
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::view::Viewer;
use tollgate_domain::memberships::{self, Membership, MembershipStatus};
use tollgate_domain::pods::{self, Pod};
use tollgate_shared::Timestamp;

use crate::app::App;
use crate::http::endpoint::Endpoint;
use crate::http::error::ApiError;
use crate::write::WriteError;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    [routes::routes(), services::routes(), reports::routes(), admin::routes()].concat()
}

/// The pod `id`, if `viewer` may see it: a private one is seen by its members, its creator, and whoever has its code.
async fn visible(app: &App, id: &str, viewer: Viewer<'_>, code: Option<&str>) -> Result<Pod, ApiError> {
    let mut tx = app.read().await?;
    let pod = pods::get(&mut tx, id).await?.ok_or_else(no_pod)?;
    let Viewer::User(user) = viewer else { return Ok(pod) };
    if pod.is_public || pod.is_of(user) || code == Some(&*pod.invite_code) {
        return Ok(pod);
    }
    let own = memberships::of_user_in(&mut tx, id, user).await?;
    own.iter().any(|row| is_shown(row, app.clock.now())).then_some(pod).ok_or_else(no_pod)
}

/// Whether a membership has come to be, or may still.
fn is_shown(row: &Membership, now: Timestamp) -> bool {
    row.status(now) != MembershipStatus::Gone
}

/// Ends memberships of a pod here by `rule`; their subscriptions are ended at Stripe by [`owed`], within seconds.
async fn call_off(app: &App, id: &str, rule: impl Fn(&mut UnitOfWork) + Send + Sync) -> Result<(), ApiError> {
    let touched = Touched::pod(id);
    let ended = app.write(&touched, |work| {
        rule(work);
        Ok::<_, ApiError>(())
    });
    ended.await?;
    Ok(())
}

/// 404: there is none, or it is nobody's business.
fn no_pod() -> ApiError {
    ApiError::not_found("such pod")
}

/// Of what was written by a rule that refuses nothing: whether the database failed.
fn or_database<T>(written: Result<T, WriteError<Infallible>>) -> Result<(), DbError> {
    match written {
        Err(WriteError::Database(failure)) => Err(failure),
        _ => Ok(()),
    }
}
