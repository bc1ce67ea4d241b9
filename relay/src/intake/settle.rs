//! When an event counts as taken, by what is known of it.

use http::StatusCode;

use super::Ack;
use crate::backend::delivery::Outcome;
use crate::forwarder::{Forwarded, Known, Persisted, Urgency};

/// Stripe holds the buyer's redirect until events of these types are answered, so the backend should have them by then.
const CHECKOUT_PREFIX: &str = "checkout.session.";

/// With [`Ack::Backend`] every event is waited for.
pub(super) fn urgency(ack: Ack, event_type: &str) -> Urgency {
    match ack {
        Ack::Backend => Urgency::Awaited,
        Ack::Durable if event_type.starts_with(CHECKOUT_PREFIX) => Urgency::Checkout,
        Ack::Durable => Urgency::None,
    }
}

/// What an event with a good signature has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is on disk, or the backend has confirmed it; and the backend was heard, where it is to be.
    Durable,
    /// The backend failed, and Stripe is to be told.
    BackendFailed(StatusCode),
    /// The journal could not take it, and it was not sent to the backend.
    OnlyByTheBackend,
    /// Neither could take it.
    NotDurable,
}

/// What an event has come to by what is `known`, if more would not change it. Whatever makes it durable first, the disk or
/// the backend, is enough.
pub(super) fn settle(ack: Ack, urgency: Urgency, known: &Known<Persisted, Forwarded>) -> Option<Settled> {
    match (known.persisted, &known.forwarded) {
        (_, Some(Forwarded::Tried(Outcome::Refused(status, _), _)))
            if ack == Ack::Backend && status.is_server_error() =>
        {
            Some(Settled::BackendFailed(*status))
        }
        (_, Some(Forwarded::Tried(Outcome::Confirmed, _))) | (Some(Persisted::At(_)), Some(_)) => {
            Some(Settled::Durable)
        }
        (Some(Persisted::At(_)), None) => (urgency == Urgency::None).then_some(Settled::Durable),
        (Some(Persisted::Failed), Some(Forwarded::Tried(..))) => Some(Settled::NotDurable),
        (Some(Persisted::Failed), Some(Forwarded::NotTried)) => Some(Settled::OnlyByTheBackend),
        (Some(Persisted::Failed), None) | (None, _) => None,
    }
}

pub(super) fn is_persisted(known: &Known<Persisted, Forwarded>) -> bool {
    matches!(known.persisted, Some(Persisted::At(_)))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tollgate_journal::Position;

    use super::*;
    use crate::backend::delivery::NoResponse;
    use crate::forwarder::{Cause, Failure};

    fn known(persisted: Option<bool>, forwarded: Option<Forwarded>) -> Known<Persisted, Forwarded> {
        let at = |is_persisted| if is_persisted { Persisted::At(Position(1)) } else { Persisted::Failed };
        Known { persisted: persisted.map(at), forwarded }
    }

    fn tried(outcome: Outcome) -> Forwarded {
        let now = Instant::now();
        Forwarded::Tried(outcome, Failure { started: now, ended: now, cause: Cause::Event })
    }

    fn refused(status: u16) -> Forwarded {
        tried(Outcome::Refused(StatusCode::from_u16(status).unwrap(), None))
    }

    fn lost() -> Forwarded {
        tried(Outcome::Unanswered(NoResponse::TimedOut))
    }

    const WAYS: [(Ack, Urgency); 3] =
        [(Ack::Durable, Urgency::None), (Ack::Durable, Urgency::Checkout), (Ack::Backend, Urgency::Awaited)];

    #[test]
    fn whatever_makes_an_event_durable_first_is_enough() {
        for (ack, urgency) in WAYS {
            for persisted in [None, Some(true), Some(false)] {
                let confirmed = known(persisted, Some(tried(Outcome::Confirmed)));
                assert_eq!(settle(ack, urgency, &confirmed), Some(Settled::Durable), "{ack:?} {persisted:?}");
            }
        }
        let on_disk = known(Some(true), None);
        assert_eq!(settle(Ack::Durable, Urgency::None, &on_disk), Some(Settled::Durable));
        assert_eq!(settle(Ack::Durable, Urgency::Checkout, &on_disk), None);
        assert_eq!(settle(Ack::Backend, Urgency::Awaited, &on_disk), None);
    }

    #[test]
    fn what_is_on_disk_is_received_whatever_the_backend_says() {
        for forwarded in [Forwarded::NotTried, refused(200), refused(302), refused(403), refused(500), lost()] {
            let known = known(Some(true), Some(forwarded));
            for urgency in [Urgency::None, Urgency::Checkout] {
                assert_eq!(settle(Ack::Durable, urgency, &known), Some(Settled::Durable), "{known:?}");
            }
        }
    }

    #[test]
    fn when_the_backend_acknowledges_its_5xx_goes_back_to_stripe_and_nothing_else_does() {
        for status in [500, 502, 503] {
            for persisted in [None, Some(true), Some(false)] {
                let settled = settle(Ack::Backend, Urgency::Awaited, &known(persisted, Some(refused(status))));
                assert_eq!(settled, Some(Settled::BackendFailed(StatusCode::from_u16(status).unwrap())));
            }
        }
        for forwarded in [Forwarded::NotTried, refused(200), refused(302), refused(403), refused(404), lost()] {
            let settled = settle(Ack::Backend, Urgency::Awaited, &known(Some(true), Some(forwarded)));
            assert_eq!(settled, Some(Settled::Durable));
        }
    }

    #[test]
    fn what_is_not_on_disk_is_received_only_if_the_backend_has_confirmed_it() {
        for (ack, urgency) in WAYS {
            for forwarded in [refused(200), refused(403), lost()] {
                let waits = known(None, Some(forwarded.clone()));
                assert_eq!(settle(ack, urgency, &waits), None, "the disk may yet take it");
                let settled = settle(ack, urgency, &known(Some(false), Some(forwarded)));
                assert_eq!(settled, Some(Settled::NotDurable));
            }
            let untried = known(Some(false), Some(Forwarded::NotTried));
            assert_eq!(settle(ack, urgency, &untried), Some(Settled::OnlyByTheBackend));
            for persisted in [None, Some(false)] {
                assert_eq!(settle(ack, urgency, &known(persisted, None)), None);
            }
        }
        let failed = known(Some(false), Some(refused(500)));
        assert_eq!(settle(Ack::Durable, Urgency::None, &failed), Some(Settled::NotDurable));
    }
}
