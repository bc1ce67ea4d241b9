//! What acknowledgements do to dead letters.

use chrono::Duration;
use tollgate_db::{DbError, Tx};
use tollgate_shared::{Rng, Timestamp};

use super::{News, Said, Status, store};
use crate::dead_letters::{self, Delivery, Failure, Source, Subject};

/// How long a machine may say nothing of an event that it was there for.
pub(super) const DEAD_LETTER_AFTER: Duration = Duration::days(7);

/// The reason of a letter whose app gave none.
const NO_REASON: &str = "the app gave no reason";

/// How many letters of a licence may wait for somebody before no further machine of it opens one: machines come and go, so
/// that whoever holds a key could make any number.
const OF_LICENSE_MAX: i64 = 200;

/// An event that a machine did not take.
pub(super) struct Letter<'a> {
    pub(super) source: Source,
    pub(super) event_id: &'a str,
    pub(super) machine_id: &'a str,
    pub(super) license_id: &'a str,
    pub(super) customer_id: Option<&'a str>,
    pub(super) event_type: &'a str,
    pub(super) reason: &'a str,
    /// How many events that were not taken it stands for.
    pub(super) attempts: i64,
}

/// Opens, opens again or ends the letter of an event at a machine that we know.
pub(super) async fn follow(tx: &mut Tx, now: Timestamp, rng: &Rng, said: &Said, news: News) -> Result<(), DbError> {
    let of = &said.of;
    let Some(machine_id) = &of.machine_id else { return Ok(()) };
    match (said.status, news) {
        // Nothing was said of it before, and it is too young for a letter that says so. Nearly all are like this.
        (Status::Processed, News::First) if now - of.created_at < DEAD_LETTER_AFTER / 2 => return Ok(()),
        (Status::Processed, _) => return dead_letters::end_acknowledged(tx, now, machine_id, &of.event_id).await,
        // Who only repeats itself fails no second time, unless it was told again because somebody wanted it to be.
        (Status::Failed, News::Nothing) if !is_being_retried(tx, said, machine_id).await? => return Ok(()),
        // It could not be sent again to a machine without a seat.
        (Status::Failed, _) if !of.has_seat => return Ok(()),
        (Status::Failed, _) => {}
    }
    let letter = Letter {
        source: Source::Desktop,
        event_id: &of.event_id,
        machine_id,
        license_id: &of.license_id,
        customer_id: Some(&of.customer_id),
        event_type: &of.event_type,
        reason: said.error.as_deref().map(str::trim).filter(|error| !error.is_empty()).unwrap_or(NO_REASON),
        attempts: 1,
    };
    open(tx, now, rng, &letter).await
}

/// Opens a letter, or adds to the one that there is of that machine and type.
pub(super) async fn open(tx: &mut Tx, now: Timestamp, rng: &Rng, letter: &Letter<'_>) -> Result<(), DbError> {
    let Letter { event_id, machine_id, license_id, customer_id, event_type, reason, attempts, .. } = *letter;
    if !dead_letters::may_open(tx, license_id, machine_id, OF_LICENSE_MAX).await? {
        return Ok(());
    }
    let delivery = Delivery { event_id, machine_id, license_id };
    let subject =
        if letter.source == Source::Desktop { Subject::Desktop(delivery) } else { Subject::Delivery(delivery) };
    dead_letters::open(tx, now, rng, &Failure { subject, customer_id, event_type, reason, attempts }).await
}

async fn is_being_retried(tx: &mut Tx, said: &Said, machine_id: &str) -> Result<bool, DbError> {
    let retried = dead_letters::to_send_again(tx, [&*said.of.license_id]).await?;
    Ok(retried.iter().any(|wanted| wanted.machine_id == machine_id && wanted.event_id == said.of.event_id))
}

/// Ends letters of machines that have given up their seats since `since`, `limit` machines at most; says of how many.
pub(super) async fn end_of_who_left(
    tx: &mut Tx,
    now: Timestamp,
    since: Timestamp,
    limit: i64,
) -> Result<usize, DbError> {
    let machines = store::left_with_letters(tx, since, limit).await?;
    if !machines.is_empty() {
        dead_letters::end_of_machines(tx, now, &machines).await?;
    }
    Ok(machines.len())
}
