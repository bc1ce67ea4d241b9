//! Whose turn it is to buy: what one user asks for twice at once, by two keys, in two tabs or on two devices, is paid for once.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_domain::apply::Touched;
use tollgate_domain::idempotency::Refused;
use tollgate_domain::idempotency::turns::{self, Begun, Turn};
use tracing::warn;

use super::desk::Desk;
use crate::http::error::ApiError;
use crate::write::WriteError;

/// How long another request of the same user is waited for, and how often it is looked whether that is done.
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Desk<'_> {
    /// Waits for the user's turn to buy; 409 while another request has it for long.
    pub(super) async fn begin_turn(&self) -> Result<Turn, ApiError> {
        let id = turns::id_of(&self.user.id);
        let until = Instant::now() + WAIT_MAX;
        loop {
            let touched = Touched::request(&id);
            let begun = self.app.write(&touched, |work| turns::begin(work, &id, self.attempt.action())).await;
            match begun {
                Err(WriteError::Refused(Refused::InProgress)) if Instant::now() < until => sleep(LOOK_INTERVAL).await,
                begun => return Ok(begun?.0),
            }
        }
    }

    /// Makes sure of the turn before anything is made that can be paid for: whoever was slow may have lost it.
    pub(super) async fn keep_turn(&self, turn: &Turn) -> Result<(), ApiError> {
        self.app.write(&Touched::request(&turn.id), |work| turns::keep(work, turn)).await?;
        Ok(())
    }

    /// Notes what was begun before anybody is told of it.
    pub(super) async fn note_begun(&self, turn: &mut Turn, begun: Begun) -> Result<(), ApiError> {
        self.app.write(&Touched::request(&turn.id), |work| turns::note(work, turn, &begun)).await?;
        turn.begun = Some(begun);
        Ok(())
    }

    /// Lets the user's next request have its turn.
    pub(super) async fn end_turn(&self, turn: &Turn) {
        let touched = Touched::request(&turn.id);
        let ended = self.app.write(&touched, |work| {
            turns::end(work, turn);
            Ok::<_, Refused>(())
        });
        if let Err(failure) = ended.await {
            warn!("could not end a user's turn to buy, which ends by itself in half a minute: {failure}");
        }
    }
}
