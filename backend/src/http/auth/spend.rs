//! That a link was used.

use rocket::http::Status;
use tollgate_domain::apply::Touched;
use tollgate_domain::idempotency::{self, Known};
use tollgate_shared::ids;

use super::link::Link;
use crate::app::App;
use crate::http::error::ApiError;

/// Remembers that `link` was used, as requests with an `Idempotency-Key` are remembered, and for longer than any link is
/// good. 401 where it was before.
pub async fn spend(app: &App, link: &Link) -> Result<(), ApiError> {
    let used = || ApiError::unauthorized("this link was used before; ask for another one");
    let request = idempotency::Request::new(&link.user_id, "a link", &link.id, "", b"");
    let sealer = &app.settings.sealer;
    let holder = ids::new_id("act", app.clock.now(), &app.rng);
    let touched = Touched::request(&request.id);
    let spent = app.write(&touched, |work| match idempotency::claim(work, sealer, &request, &holder)? {
        Known::Answered(_) => Err(used()),
        Known::Claimed(claim) => {
            let answer = idempotency::Answer { status: Status::NoContent.code, body: Vec::new() };
            Ok::<_, ApiError>(idempotency::answer(work, sealer, &claim, &answer)?)
        }
    });
    spent.await?;
    Ok(())
}
