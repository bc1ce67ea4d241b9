//! Rounds: every membership's subscription is read from Stripe, and taken in as its events would be. In the lowest lane of the
//! rate budget, a hundred a call where the pod's price lists them; one that cannot be read holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::slice;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tollgate_db::{DbError, Lock};
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::rounds::{self, Round};
use tollgate_domain::memberships::{self, Membership};
use tollgate_domain::pods::{self, Pod};
use tollgate_domain::subscriptions::Subscription;
use tollgate_shared::clock::from_unix;
use tollgate_stripe::{self as stripe, Object, ObjectType, Observation};
use tracing::{error, warn};

use super::at_stripe::Teller;
use crate::app::App;
use crate::billing::answers;
use crate::differences;
use crate::stripe_api::error::CallError;
use crate::stripe_api::form::Form;
use crate::stripe_api::list::{OBJECTS_MAX, Page};
use crate::stripe_api::{Answer, Call};
use crate::write::WriteError;

/// After how long a run stops, to go on within the next minutes.
pub const STOPS_AFTER: Duration = Duration::from_secs(600);

/// How many pods are seen to until it is kept how far the round has come, and how many of them side by side.
const PODS_TOGETHER: i64 = 32;
const SIDE_BY_SIDE: usize = 8;

/// How many subscriptions are taken in together: their customers' rows are held as long, and webhooks wait for those.
const TOGETHER: usize = 25;

/// How often a call is made at most that Stripe cannot answer now, beyond what each call is tried anyway, and how long is
/// waited before the second time; twice as long before each later one.
const CALLS_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What a round has come to, as its job says it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    synced: i64,
    due_soon: i64,
    failed_payments: i64,
    grace_ending: i64,
    changed: i64,
    errors: i64,
    /// Memberships that were not come to yet.
    unfinished: i64,
}

/// What became of one membership.
struct Seen {
    is_synced: bool,
    is_changed: bool,
}

/// Begins a round, or goes on with the one that was stopped, for so long at most. It is through with a pod when all of that
/// pod's members were read; with the first one of a run it is so in any case, so that each run comes further.
pub async fn run(app: &App, stops_after: Duration, say: impl Fn(&Summary) + Send + Sync) -> Result<(), DbError> {
    let until = Instant::now() + stops_after;
    let teller = Teller::open(app).ok().map(Teller::in_background);
    let known = rounds::newest(&mut app.read().await?).await?;
    let now = app.clock.now();
    let mut round = known.filter(|round| round.goes_on(now)).unwrap_or_else(|| Round::new(now));
    let mut unfinished = rounds::count_after(&mut app.read().await?, &round.after_pod_id).await?;
    let mut is_first = true;
    loop {
        let ids = rounds::pods_after(&mut app.read().await?, &round.after_pod_id, PODS_TOGETHER).await?;
        if ids.is_empty() {
            break;
        }
        let parts = ids.into_iter().map(|id| async move { (see_to(app, teller, &id, until).await, id) });
        let mut parts = stream::iter(parts).buffered(SIDE_BY_SIDE);
        let mut is_stopped = false;
        while let Some((part, id)) = parts.next().await {
            let part = part?;
            if part.unread > 0 && !is_first {
                is_stopped = true;
                break;
            }
            is_first = false;
            round.add(&part.counted);
            round.errors += part.unread;
            unfinished = (unfinished - part.members).max(0);
            round.after_pod_id = id;
        }
        drop(parts);
        keep(app, &round).await?;
        say(&Summary::of(&round, unfinished));
        if is_stopped {
            return Ok(());
        }
    }
    round.ended_at = Some(app.clock.now());
    keep(app, &round).await?;
    say(&Summary::of(&round, 0));
    Ok(())
}

/// Goes on with the round that was stopped, if it still is unfinished: another process may have come through with it since
/// somebody saw that. Else its numbers are said as they are.
pub async fn go_on(app: &App, stops_after: Duration, say: impl Fn(&Summary) + Send + Sync) -> Result<(), DbError> {
    let newest = rounds::newest(&mut app.read().await?).await?;
    let Some(round) = newest else { return Ok(()) };
    if round.goes_on(app.clock.now()) {
        return run(app, stops_after, say).await;
    }
    say(&Summary::of(&round, 0));
    Ok(())
}

/// Whether a round was stopped and is to go on.
pub async fn is_unfinished(app: &App) -> Result<bool, DbError> {
    let newest = rounds::newest(&mut app.read().await?).await?;
    Ok(newest.is_some_and(|round| round.goes_on(app.clock.now())))
}

async fn keep(app: &App, round: &Round) -> Result<(), DbError> {
    let mut tx = app.begin_write().await?;
    rounds::keep(&mut tx, round).await?;
    tx.commit().await
}

/// A pod's part of a round.
struct Part {
    counted: Round,
    members: i64,
    /// Members to whom it did not come in its time.
    unread: i64,
}

/// Reads what a pod's members have at Stripe and counts them. What is wrong with one pod's rows is an error of the round, and
/// holds up no other.
async fn see_to(app: &App, teller: Option<Teller<'_>>, pod_id: &str, until: Instant) -> Result<Part, DbError> {
    match read_and_count(app, teller, pod_id, until).await {
        Err(failure) if !failure.concerns_all() => {
            error!(pod.id = pod_id, "could not see to pod {pod_id}: {failure}");
            let counted = Round { errors: 1, ..Round::new(app.clock.now()) };
            Ok(Part { counted, members: 0, unread: 0 })
        }
        part => part,
    }
}

async fn read_and_count(app: &App, teller: Option<Teller<'_>>, pod_id: &str, until: Instant) -> Result<Part, DbError> {
    let mut counted = Round::new(app.clock.now());
    let mut tx = app.read().await?;
    let Some(pod) = pods::get(&mut tx, pod_id).await? else { return Ok(Part { counted, members: 0, unread: 0 }) };
    let members = members_of(memberships::of_pod(&mut tx, pod_id).await?);
    drop(tx);
    let mut unread = 0;
    if let Some(teller) = teller {
        let read = teller.read_members(&pod, &members, until).await;
        (counted.errors, unread) = (read.errors, read.left);
        for together in read.seen.chunks(TOGETHER) {
            match compare(app, together).await {
                Ok(seen) => seen.iter().for_each(|seen| counted.read(seen.is_synced, seen.is_changed)),
                Err(WriteError::Database(failure)) if failure.concerns_all() => return Err(failure),
                // Each alone, so that one harms no other.
                Err(_) => {
                    for alone in together {
                        match compare(app, slice::from_ref(alone)).await {
                            Ok(seen) => seen.iter().for_each(|seen| counted.read(seen.is_synced, seen.is_changed)),
                            Err(WriteError::Database(failure)) if failure.concerns_all() => return Err(failure),
                            Err(_) => counted.errors += 1,
                        }
                    }
                }
            }
        }
    }
    let now = app.clock.now();
    let members = members_of(memberships::of_pod(&mut app.read().await?, pod_id).await?);
    for member in &members {
        counted.count(member, &pod, now);
    }
    Ok(Part { counted, members: i64::try_from(members.len()).unwrap_or(i64::MAX), unread })
}

fn members_of(mut rows: Vec<Membership>) -> Vec<Membership> {
    rows.retain(|row| row.subscription_id.is_some() && row.seat_of.is_some());
    rows
}

/// Takes in what of these is not so here, and says of each what became of it.
async fn compare(app: &App, seen: &[Observation]) -> Result<Vec<Seen>, WriteError<Infallible>> {
    let mut found = app.differences(seen).await?;
    // What is so already is not written again.
    if !found.is_empty() {
        found = app.take_in(seen, Touched::default()).await?;
    }
    let changed: BTreeSet<_> =
        differences::of_objects(found, seen).into_iter().map(|difference| difference.object).collect();
    let ids = seen.iter().filter_map(differences::object_id).map(str::to_owned).collect();
    let rows: Vec<Subscription> = app.read().await?.load("id", &ids, Lock::None).await?;
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (&*row.id, row)).collect();
    let of_each = seen.iter().filter_map(|seen| match &seen.object {
        Object::Subscription { after, .. } => {
            let is_synced = rows.get(&*after.id).is_some_and(|row| is_as_read(row, after));
            Some(Seen { is_synced, is_changed: changed.contains(&after.id) })
        }
        _ => None,
    });
    Ok(of_each.collect())
}

fn is_as_read(row: &Subscription, read: &stripe::Subscription) -> bool {
    let period_end = read.items.first().and_then(|item| item.period_end).and_then(from_unix);
    row.status.as_deref() == Some(&*read.status) && row.current_period_end == period_end
}

/// What was read of a pod's members.
#[derive(Default)]
struct Read {
    seen: Vec<Observation>,
    /// How many could not be read.
    errors: i64,
    /// How many it did not come to.
    left: i64,
}

impl Teller<'_> {
    /// What the members of a pod have at Stripe, as far as that is read until then.
    async fn read_members(self, pod: &Pod, members: &[Membership], until: Instant) -> Read {
        let mut wanted: BTreeSet<&str> = members.iter().filter_map(|row| row.subscription_id.as_deref()).collect();
        let mut read = Read::default();
        if let Some(price) = pod.price_id.as_deref().filter(|_| wanted.len() > 1) {
            for observation in self.listed(price, wanted.len(), until).await {
                if differences::object_id(&observation).is_some_and(|id| wanted.remove(id)) {
                    read.seen.push(observation);
                }
            }
        }
        // Those that have ended, or that the list does not have for another reason.
        for id in wanted {
            if Instant::now() >= until {
                read.left += 1;
                continue;
            }
            let call = Call::get("subscriptions.read", &["subscriptions", id]);
            let answer = self.read_again(&call).await.map_err(Into::into);
            let seen = answer.and_then(|answer| {
                answers::seen(self.app, ObjectType::Subscription, None, &answer.body, answer.looked_after)
            });
            match seen {
                Ok(observation) => read.seen.push(observation),
                Err(error) => {
                    warn!(subscription.id = id, "could not read subscription {id} of a pod: {}", error.code);
                    read.errors += 1;
                }
            }
        }
        read
    }

    /// The subscriptions that go on of a price, as far as they can be listed until then: `expected` of them, or somewhat more.
    async fn listed(self, price: &str, expected: usize, until: Instant) -> Vec<Observation> {
        let (mut seen, mut last) = (Vec::new(), None);
        // Of what was made beside us there may be any number.
        for _ in 0..=expected.div_ceil(OBJECTS_MAX) {
            if Instant::now() >= until {
                break;
            }
            let form = Form::default().with("price", price).with("limit", OBJECTS_MAX);
            let form = form.with_some("starting_after", last.take());
            let call = Call::get("subscriptions.list", &["subscriptions"]).with(form);
            let Ok(answer) = self.read_again(&call).await else { break };
            let Ok(page) = Page::of(&answer) else { break };
            for object in &page.objects {
                let object = object.get().as_bytes();
                seen.extend(answers::seen(self.app, ObjectType::Subscription, None, object, answer.looked_after));
            }
            match page.last() {
                Ok(Some(listed)) if page.has_more => last = Some(listed.id),
                _ => break,
            }
        }
        seen
    }

    /// Reads something, several times where Stripe cannot answer now.
    async fn read_again(self, call: &Call) -> Result<Answer, CallError> {
        let call = self.urgent(call.clone());
        let mut pause = FIRST_PAUSE;
        for _ in 1..CALLS_MAX {
            match self.stripe.read(&call).await {
                Err(error) if error.is_transient() => sleep(pause).await,
                answer => return answer,
            }
            pause *= 2;
        }
        self.stripe.read(&call).await
    }
}

impl Summary {
    fn of(round: &Round, unfinished: i64) -> Self {
        let &Round { synced, changed, errors, due_soon, failed_payments, grace_ending, .. } = round;
        Self { synced, due_soon, failed_payments, grace_ending, changed, errors, unfinished }
    }
}
