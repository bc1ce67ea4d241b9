//! Live events from Stripe to a desktop app, through both tiers, while each part goes away and comes back.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;
use tollgate_tests::engines::block_on;
use tollgate_tests::event_source::Told;
use tollgate_tests::redis::Redis;
use tollgate_tests::stack::sample;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};
use tollgate_tests::wait::{LONG, SOON};
use tollgate_tests::{Engine, EventSource, Stack, StackConfig, on_each_engine, wait_until};

/// A customer with a licence, to whom things happen.
struct Holder {
    stripe: Stripe,
    customer: String,
    subscription: String,
    key: String,
    told: usize,
}

impl Holder {
    async fn of(stack: &Stack) -> Self {
        let mut stripe = Stripe::fresh();
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        let shown = stack.customer(&customer).await.expect("it is known");
        let key = shown["licenses"][0]["key"].as_str().expect("it has a licence").to_owned();
        let told = stripe.occurrences.len();
        Self { stripe, customer, subscription, key, told }
    }

    fn url(&self, stack: &Stack) -> String {
        stack.public(&format!("/api/events/{}", self.key))
    }

    /// Something happens of which the app is told, and Stripe tells the relay.
    async fn goes_on(&mut self, stack: &Stack, quantity: i64) {
        self.stripe.pass(60).change_quantity(&self.subscription, quantity);
        let events = self.stripe.events_since(self.told, ApiVersion::Endive);
        self.told = self.stripe.occurrences.len();
        stack.deliver_all(&events, 1).await;
    }
}

fn seq_of(told: &Told) -> i64 {
    let id = told.id.as_deref().unwrap_or_else(|| panic!("it has an id: {told:?}"));
    id.split_once('.').and_then(|(_, seq)| seq.parse().ok()).unwrap_or_else(|| panic!("{id} is a cursor"))
}

/// Everything in the log after `cursor`, by its other route.
async fn missed(stack: &Stack, key: &str, cursor: &str) -> Vec<Value> {
    let url = stack.public(&format!("/api/events/{key}/missed?limit=1000&since={cursor}"));
    stack.http.get(&url, &[]).await.json()["data"].as_array().expect("a list").clone()
}

/// Reads until the app was told what is the newest in the log; each event once, in order, without a gap.
async fn is_up_to_date(stack: &Stack, source: &mut EventSource, key: &str, after: &mut Told) {
    let expected = missed(stack, key, after.id.as_deref().expect("a cursor")).await;
    for event in expected {
        let told = source.next_event().await;
        assert_eq!((seq_of(&told), &told.data), (seq_of(after) + 1, &event), "after {after:?}");
        *after = told;
    }
}

on_each_engine!(an_app_is_told_once_and_in_order_while_each_tier_goes_and_comes_back, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut holder = Holder::of(&stack).await;
    let mut source = EventSource::open(&holder.url(&stack), None);
    let mut last = source.next().await;
    assert_eq!(last.event, "connected");

    holder.goes_on(&stack, 2).await;
    stack.settled().await;
    is_up_to_date(&stack, &mut source, &holder.key, &mut last).await;

    stack.backend().kill();
    holder.goes_on(&stack, 3).await;
    holder.goes_on(&stack, 4).await;
    stack.start_backends().await;
    stack.settled_within(LONG).await;
    is_up_to_date(&stack, &mut source, &holder.key, &mut last).await;

    stack.relay.kill();
    stack.start_relay().await;
    holder.goes_on(&stack, 5).await;
    stack.settled().await;
    is_up_to_date(&stack, &mut source, &holder.key, &mut last).await;

    // In good order, too: streams are ended, not waited for.
    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.start_backends().await;
    holder.goes_on(&stack, 6).await;
    stack.settled_within(LONG).await;
    is_up_to_date(&stack, &mut source, &holder.key, &mut last).await;
    let logs = stack.logs();
    assert!(!logs.contains(&holder.key), "no log holds the key");
    stack.assert_true_to(&holder.stripe, &holder.customer).await;
});

#[test]
fn an_app_is_told_of_what_happened_around_a_crash_of_postgresql() {
    block_on(async {
        let stack = Stack::spawn(StackConfig { durable: true, ..StackConfig::on(Engine::Postgres) }).await;
        let mut holder = Holder::of(&stack).await;
        let mut source = EventSource::open(&holder.url(&stack), None);
        let mut last = source.next().await;
        let server = stack.database.server().expect("a server of our own");
        server.stop_immediately();
        holder.goes_on(&stack, 2).await;
        // Whoever comes now is told to come again, by a stream that ends.
        let mut late = EventSource::open(&holder.url(&stack), last.id.as_deref());
        server.start_again().await;
        stack.settled_within(LONG).await;
        is_up_to_date(&stack, &mut source, &holder.key, &mut last).await;
        let mut seen = late.next_event().await;
        while seen.id != last.id {
            seen = late.next_event().await;
        }
    });
}

/// Two backends, one of which has the stream and the other the event.
async fn two_backends_tell_each_other(config: StackConfig, mut redis: Option<Redis>) {
    let stack = Stack::spawn(StackConfig { backends: 2, ..config }).await;
    let mut holder = Holder::of(&stack).await;
    let url = |backend: usize, path: &str| format!("http://{}{path}", stack.backends[backend].address);
    let path = format!("/api/events/{}", holder.key);
    let mut sources = [0, 1].map(|backend| EventSource::open(&url(backend, &path), None));
    let bell = if redis.is_some() { "redis" } else { "postgres" };
    let rings = async |backend: usize| {
        let metrics = stack.http.get(&url(backend, "/metrics"), &[]).await;
        String::from_utf8_lossy(&metrics.body).contains(&format!("tollgate_backend_bell_up{{bell=\"{bell}\"}} 1"))
    };
    let both_ring = async || rings(0).await && rings(1).await;
    let mut last = Vec::new();
    for source in &mut sources {
        last.push(source.next_named("connected").await);
    }
    wait_until("both hear each other", LONG, &both_ring).await;
    for quantity in 2..6 {
        if quantity == 4
            && let Some(redis) = &mut redis
        {
            redis.stop();
            // Without a bell, the poll.
            holder.goes_on(&stack, 10).await;
            stack.settled().await;
            for (source, last) in sources.iter_mut().zip(&mut last) {
                is_up_to_date(&stack, source, &holder.key, last).await;
            }
            redis.start_again().await;
            wait_until("both hear each other again", LONG, &both_ring).await;
        }
        holder.goes_on(&stack, quantity).await;
        stack.settled().await;
        for (source, last) in sources.iter_mut().zip(&mut last) {
            is_up_to_date(&stack, source, &holder.key, last).await;
        }
    }
    assert!(!stack.logs().contains(&holder.key), "no log holds the key");
}

#[test]
fn two_backends_on_postgresql_tell_each_others_streams() {
    block_on(two_backends_tell_each_other(StackConfig::on(Engine::Postgres), None));
}

#[test]
fn two_backends_tell_each_others_streams_by_redis_and_without_it() {
    block_on(async {
        let redis = Redis::start().await;
        let config = StackConfig::on(Engine::Postgres).backend("REDIS_URL", &redis.url());
        two_backends_tell_each_other(config, Some(redis)).await;
    });
}

on_each_engine!(a_stream_whose_client_is_gone_is_soon_gone_in_both_tiers, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info")).await;
    let holder = Holder::of(&stack).await;
    let mut sources: Vec<_> = (0..100).map(|_| EventSource::open(&holder.url(&stack), None)).collect();
    let cursors = join_all(sources.iter_mut().map(EventSource::next)).await;
    assert_eq!(cursors.iter().map(|told| &*told.event).collect::<BTreeSet<_>>(), BTreeSet::from(["connected"]));
    let open = async || {
        let relay = stack.http.get(&stack.relay.admin_url("/metrics"), &[]).await;
        let backend = stack.http.get(&stack.private("/metrics"), &[]).await;
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        let count = |body: &[u8], name: &str| sample(&text(body), name).expect("it is counted");
        (count(&relay.body, "tollgate_relay_streams"), count(&backend.body, "tollgate_backend_streams"))
    };
    assert_eq!(open().await, (100, 100));
    sources.truncate(10);
    // Without anything that happens to the licence: nobody writes to them for that.
    wait_until("the others are gone", SOON, async || open().await == (10, 10)).await;
});

on_each_engine!(a_restored_backup_is_noticed_by_the_apps, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut holder = Holder::of(&stack).await;
    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    let backup = stack.database.copy().await;
    stack.start().await;
    let mut source = EventSource::open(&holder.url(&stack), None);
    let mut forgotten = source.next_named("connected").await;
    holder.goes_on(&stack, 2).await;
    stack.settled().await;
    is_up_to_date(&stack, &mut source, &holder.key, &mut forgotten).await;

    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.database.restore(&backup).await;
    stack.start().await;
    let gap = source.next_event().await;
    assert_eq!((&*gap.event, &gap.id), ("gap", &None));
    let oldest = source.next_event().await;
    assert_eq!((seq_of(&oldest), oldest.id.as_deref()), (1, gap.data["oldest"].as_str()));
    // What happened since then is of the new epoch, though its number may have been another's.
    holder.goes_on(&stack, 3).await;
    stack.settled().await;
    let mut back = EventSource::open(&holder.url(&stack), forgotten.id.as_deref());
    assert_eq!(back.next_event().await.event, "gap");
});
