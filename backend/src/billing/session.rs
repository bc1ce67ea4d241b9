//! The session at the till that was opened for a user last. Before anything else can be paid for it is gone through, of which
//! Stripe may know and we not yet, or else it is closed.

use serde::Deserialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::idempotency::turns::{Begun, Turn};
use tollgate_stripe::ObjectType;

use super::answers::unreadable;
use super::desk::{Desk, already_subscribed};
use crate::http::error::ApiError;
use crate::stripe_api::action::Action;
use crate::stripe_api::error::Refusal;
use crate::stripe_api::{Answer, Call};

/// How often a session is looked at that is gone through while it is being closed.
const LOOKS_MAX: usize = 3;

/// Stripe's session, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    status: Option<String>,
    url: Option<String>,
    payment_status: Option<String>,
    subscription: Option<String>,
    payment_intent: Option<String>,
}

#[derive(Deserialize)]
struct Intent {
    status: Option<String>,
}

impl Session {
    pub(super) fn of(answer: &Answer) -> Result<Self, ApiError> {
        serde_json::from_slice(&answer.body).map_err(|_| unreadable())
    }

    /// Its page, while somebody can go through.
    pub(super) fn open(self) -> Option<(String, String)> {
        let url = self.url.filter(|_| self.status.as_deref() == Some("open"))?;
        Some((self.id, url))
    }
}

/// What became of the session that was opened last.
pub(super) enum Till {
    /// It is open, for what is asked now.
    Open(Session),
    /// Nobody can pay there, nor has.
    Closed,
    /// It was gone through, and what came of it is known now.
    GoneThrough,
}

impl Desk<'_> {
    /// Sees to it that of what the user could pay for at the till nothing is left but what is `asked` for now, and takes in what
    /// was paid for there.
    pub(super) async fn settle_till(&self, turn: &mut Turn, asked: Option<&str>) -> Result<Till, ApiError> {
        for _ in 0..LOOKS_MAX {
            let Some(begun) = turn.begun.clone().filter(|begun| begun.asked.is_some()) else {
                return Ok(Till::Closed);
            };
            let mut till = Till::Closed;
            let account = begun.account.as_deref();
            let path = ["checkout", "sessions", &begun.id];
            let answer = match self.stripe.read(&Call::get("checkout.read", &path).in_account(account)).await {
                // It was of a test mode whose data is gone, or of another account.
                Err(error) if error.refusal().is_some_and(|refusal| refusal.has_no("id")) => None,
                read => Some(read?),
            };
            let session = answer.as_ref().map(Session::of).transpose()?;
            match (answer, session) {
                (Some(_), Some(session)) if session.status.as_deref() == Some("open") => {
                    if begun.asked.as_deref() == asked {
                        return Ok(Till::Open(session));
                    }
                    let call = Call::post("checkout.expire", &[&path[..], &["expire"]].concat());
                    let action = Action::of_state(&["expire", &begun.id]);
                    match self.stripe.act(&call.in_account(account), &action).await {
                        // Somebody has gone through it just now.
                        Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => continue,
                        closed => drop(closed?),
                    }
                }
                (Some(answer), Some(session)) if session.status.as_deref() == Some("complete") => {
                    self.take_in_session(&answer, &session, account).await?;
                    till = Till::GoneThrough;
                }
                _ => {}
            }
            self.note_begun(turn, Begun { asked: None, ..begun }).await?;
            return Ok(till);
        }
        Err(unreadable())
    }

    /// Takes in a session that was gone through, with the subscription that it has made. 409 while its payment takes days.
    async fn take_in_session(&self, answer: &Answer, session: &Session, account: Option<&str>) -> Result<(), ApiError> {
        let mut seen = vec![self.seen(ObjectType::CheckoutSession, account, &answer.body, answer.looked_after)?];
        if let Some(id) = &session.subscription {
            let read = Call::get("subscriptions.read", &["subscriptions", id]).in_account(account);
            let answer = self.stripe.read(&read).await?;
            seen.push(self.seen(ObjectType::Subscription, account, &answer.body, answer.looked_after)?);
        }
        self.app.take_in(&seen, Touched::default()).await?;
        if session.payment_status.as_deref() == Some("unpaid")
            && let Some(id) = &session.payment_intent
        {
            let read = Call::get("payment_intents.read", &["payment_intents", id]).in_account(account);
            let answer = self.stripe.read(&read).await?;
            let Intent { status } = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
            if matches!(status.as_deref(), Some("processing" | "requires_capture")) {
                return Err(already_subscribed());
            }
        }
        Ok(())
    }
}
