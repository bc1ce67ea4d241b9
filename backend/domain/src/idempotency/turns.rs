//! Turns: what one user does in one way at a time, whatever each request is called: buying. Of two requests at once the second
//! one finds what the first has bought.
//!
//! A turn is a row of `remembered_requests` that is held as a request's is, and taken over as that from who died with it. It
//! knows what was begun in the last one and can still be paid for.

use chrono::Duration;
use tollgate_db::UnitOfWork;

use crate::idempotency::{HELD_FOR, Refused, RememberedRequest, digest};

/// How long is known what was begun: as long as Stripe lists what became of it.
pub const KEPT_FOR: Duration = Duration::days(30);

/// The right to do it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The row.
    pub id: String,
    /// Whose turn it is: a name of what is done, the same for each attempt to do it.
    pub holder: String,
    /// What was begun last.
    pub begun: Option<Begun>,
}

/// Something at Stripe that can be paid for, or could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// `cs_…`
    pub id: String,
    /// The connected account that it is in; none for our own.
    pub account: Option<String>,
    /// A name of what was asked for; none once nobody can pay any more, and what was paid is known.
    pub asked: Option<String>,
}

impl Begun {
    fn of(row: &RememberedRequest) -> Option<Self> {
        let subject = row.subject.as_deref()?;
        let (account, id) = subject.split_once(' ').map_or((None, subject), |(account, id)| (Some(account), id));
        let asked = Some(row.request_hash.clone()).filter(|asked| !asked.is_empty());
        Some(Self { id: id.to_owned(), account: account.map(str::to_owned), asked })
    }

    fn subject(&self) -> String {
        self.account.as_ref().map_or_else(|| self.id.clone(), |account| format!("{account} {}", self.id))
    }
}

/// The row of a user's turns.
pub fn id_of(user_id: &str) -> String {
    digest([user_id.as_bytes(), b"turn", b""])
}

/// Gives the turn to `holder`, unless another one has it.
pub fn begin(work: &mut UnitOfWork, id: &str, holder: &str) -> Result<Turn, Refused> {
    let now = work.now();
    let mut row = work.get_cloned(id).unwrap_or_else(|| RememberedRequest::placeholder(id));
    if row.expires_at <= now {
        row = RememberedRequest { first_at: now, ..RememberedRequest::placeholder(id) };
    }
    if row.held_until > now && row.holder != holder {
        return Err(Refused::InProgress);
    }
    holder.clone_into(&mut row.holder);
    let turn = Turn { id: id.to_owned(), holder: holder.to_owned(), begun: Begun::of(&row) };
    hold(work, row);
    Ok(turn)
}

/// Makes sure of a turn before something is done in it that cannot be undone: it is then held for as long as at its beginning.
pub fn keep(work: &mut UnitOfWork, turn: &Turn) -> Result<(), Refused> {
    let row = held(work, turn)?;
    hold(work, row);
    Ok(())
}

/// Notes what was begun in a turn, for whoever has the next one.
pub fn note(work: &mut UnitOfWork, turn: &Turn, begun: &Begun) -> Result<(), Refused> {
    let mut row = held(work, turn)?;
    row.subject = Some(begun.subject());
    row.request_hash = begun.asked.clone().unwrap_or_default();
    hold(work, row);
    Ok(())
}

/// Lets the next one begin.
pub fn end(work: &mut UnitOfWork, turn: &Turn) {
    if let Ok(mut row) = held(work, turn) {
        row.held_until = work.now();
        work.insert(row);
    }
}

fn hold(work: &mut UnitOfWork, mut row: RememberedRequest) {
    row.held_until = work.now() + HELD_FOR;
    row.expires_at = work.now() + KEPT_FOR;
    work.insert(row);
}

/// The row of a turn that still is its holder's.
fn held(work: &UnitOfWork, turn: &Turn) -> Result<RememberedRequest, Refused> {
    work.get_cloned(&turn.id).filter(|row: &RememberedRequest| row.holder == turn.holder).ok_or(Refused::InProgress)
}

#[cfg(test)]
mod tests {
    use tollgate_shared::Rng;
    use tollgate_shared::clock::from_unix;

    use super::*;

    const START: i64 = 1_750_000_000;

    fn at(seconds: i64, before: &UnitOfWork) -> UnitOfWork {
        let mut work = UnitOfWork::new(from_unix(START + seconds).unwrap(), Rng::seeded(1));
        work.add_loaded(before.all::<RememberedRequest>().cloned().collect());
        work
    }

    fn nothing() -> UnitOfWork {
        UnitOfWork::new(from_unix(START).unwrap(), Rng::seeded(1))
    }

    #[test]
    fn of_two_at_once_one_has_the_turn() {
        let id = id_of("user_1");
        let mut work = nothing();
        let first = begin(&mut work, &id, "first").unwrap();
        assert_eq!(begin(&mut work, &id, "second"), Err(Refused::InProgress));
        assert_eq!(begin(&mut work, &id, "first"), Ok(first.clone()), "the same one, asked again");
        end(&mut work, &first);
        assert_eq!(begin(&mut work, &id, "second").unwrap().holder, "second");
        assert_eq!(keep(&mut work, &first), Err(Refused::InProgress), "it was only slow, and does nothing any more");
        assert_ne!(id_of("user_2"), id);
    }

    #[test]
    fn who_died_at_its_turn_is_succeeded() {
        let id = id_of("user_1");
        let mut work = nothing();
        let first = begin(&mut work, &id, "first").unwrap();
        let mut work = at(20, &work);
        keep(&mut work, &first).unwrap();
        assert_eq!(begin(&mut at(49, &work), &id, "second"), Err(Refused::InProgress));
        assert!(begin(&mut at(50, &work), &id, "second").is_ok());
    }

    #[test]
    fn what_was_begun_is_known_to_the_next_one_for_a_month() {
        let id = id_of("user_1");
        let mut work = nothing();
        let first = begin(&mut work, &id, "first").unwrap();
        assert_eq!(first.begun, None);
        for account in [None, Some("acct_1".to_owned())] {
            for asked in [Some("a plan".to_owned()), None] {
                let begun = Begun { id: "cs_1".to_owned(), account: account.clone(), asked };
                note(&mut work, &first, &begun).unwrap();
                let days = |days: i64| begin(&mut at(days * 86_400, &work), &id, "second").unwrap().begun;
                assert_eq!((days(29), days(30)), (Some(begun), None));
            }
        }
    }
}
