//! Live events from Stripe to a desktop app, through both tiers, while each part goes away and comes back.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate_tests::engines::block_on;
use tollgate_tests::event_source::Told;
use tollgate_tests::process::free_address;
use tollgate_tests::redis::Redis;
use tollgate_tests::stack::sample;
use tollgate_tests::stripe::catalogue::TEAM_MONTHLY;
use tollgate_tests::stripe::{Billed, Stripe};
use tollgate_tests::wait::{LONG, SOON};
use tollgate_tests::{Engine, EventSource, Holder, Line, Stack, StackConfig, on_each_engine, wait_until};

on_each_engine!(an_app_is_told_once_and_in_order_while_each_tier_goes_and_comes_back, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut holder = Holder::of(&stack).await;
    let mut source = EventSource::open(&holder.url(&stack), None);
    let mut last = source.next().await;
    assert_eq!(last.event, "connected");

    holder.takes(&stack, 2).await;
    stack.settled().await;
    holder.is_up_to_date(&stack, &mut source, &mut last).await;

    stack.backend().kill();
    holder.takes(&stack, 3).await;
    holder.takes(&stack, 4).await;
    stack.start_backends().await;
    stack.settled_within(LONG).await;
    holder.is_up_to_date(&stack, &mut source, &mut last).await;

    stack.relay.kill();
    stack.start_relay().await;
    holder.takes(&stack, 5).await;
    stack.settled().await;
    holder.is_up_to_date(&stack, &mut source, &mut last).await;

    // In good order, too: streams are ended, not waited for.
    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.start_backends().await;
    holder.takes(&stack, 6).await;
    stack.settled_within(LONG).await;
    holder.is_up_to_date(&stack, &mut source, &mut last).await;
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
        holder.takes(&stack, 2).await;
        // Whoever comes now is told to come again, by a stream that ends.
        let mut late = EventSource::open(&holder.url(&stack), last.id.as_deref());
        server.start_again().await;
        stack.settled_within(LONG).await;
        holder.is_up_to_date(&stack, &mut source, &mut last).await;
        let mut seen = late.next_event().await;
        while seen.id != last.id {
            seen = late.next_event().await;
        }
    });
}

/// Whoever listens is told of what happened, and nothing else.
async fn all_are_up_to_date(stack: &Stack, holder: &Holder, apps: &mut [App]) {
    stack.settled_within(LONG).await;
    for app in apps {
        holder.is_up_to_date(stack, &mut app.source, &mut app.last).await;
    }
}

/// An `EventSource` that is none of ours.
struct App {
    name: &'static str,
    source: EventSource,
    /// What it was told last.
    last: Told,
}

impl App {
    async fn open(name: &'static str, mut source: EventSource) -> Self {
        let last = source.next().await;
        assert_eq!(last.event, "connected", "{name}");
        Self { name, source, last }
    }
}

on_each_engine!(real_event_sources_are_told_once_and_in_order, async |engine| {
    let origin = format!("http://{}", free_address());
    let mut redis = if engine == Engine::Postgres { Some(Redis::start().await) } else { None };
    let config = StackConfig { durable: true, ..StackConfig::on(engine) }.relay("CORS_ORIGINS", &origin);
    let mut config = config.relay("RUST_LOG", "info").backend("RUST_LOG", "info");
    if let Some(redis) = &redis {
        config = config.backend("REDIS_URL", &redis.url());
    }
    let mut stack = Stack::spawn(config).await;
    let mut holder = Holder::of(&stack).await;
    let mut line = Line::to(stack.relay.address).await;
    let url = format!("http://{}{}", line.address, holder.path());
    let mut apps = [
        App::open("the package in Node", EventSource::in_node(&url)).await,
        App::open("Chromium, a page of another origin", EventSource::in_chromium(&url, &origin)).await,
        App::open("Chromium, a file", EventSource::in_chromium(&url, "null")).await,
    ];

    let began = Instant::now();
    // Billed later: all that Stripe has to tell is one webhook.
    let upgrade = |stripe: &mut Stripe, subscription: &str| stripe.switch(subscription, &TEAM_MONTHLY, Billed::Later);
    holder.goes_on(&stack, upgrade).await;
    join_all(apps.iter_mut().map(async |app| {
        while app.last.event != "plan_changed" {
            let told = app.source.next_event().await;
            assert_eq!(told.seq(), app.last.seq() + 1, "{}", app.name);
            app.last = told;
        }
        println!("{}: told of another plan {:?} after its webhook was sent", app.name, began.elapsed());
    }))
    .await;
    all_are_up_to_date(&stack, &holder, &mut apps).await;

    line.cut().await;
    for quantity in [2, 3, 4] {
        holder.takes(&stack, quantity).await;
    }
    stack.settled().await;
    line.mend().await;
    all_are_up_to_date(&stack, &holder, &mut apps).await;

    stack.backend().kill();
    holder.takes(&stack, 5).await;
    stack.start_backends().await;
    all_are_up_to_date(&stack, &holder, &mut apps).await;

    stack.relay.kill();
    stack.start_relay().await;
    holder.takes(&stack, 6).await;
    all_are_up_to_date(&stack, &holder, &mut apps).await;

    if let Some(server) = stack.database.server() {
        server.stop_immediately();
        holder.takes(&stack, 7).await;
        server.start_again().await;
        all_are_up_to_date(&stack, &holder, &mut apps).await;
    }
    if let Some(redis) = &mut redis {
        redis.stop();
        holder.takes(&stack, 8).await;
        all_are_up_to_date(&stack, &holder, &mut apps).await;
        redis.start_again().await;
        holder.takes(&stack, 9).await;
        all_are_up_to_date(&stack, &holder, &mut apps).await;
    }
    stack.assert_true_to(&holder.stripe, &holder.customer).await;
});

#[test]
fn a_page_of_an_origin_that_is_not_listed_reads_no_stream() {
    block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Sqlite).relay("CORS_ORIGINS", "https://app.example")).await;
        let holder = Holder::of(&stack).await;
        let mut source = EventSource::in_chromium(&holder.url(&stack), &format!("http://{}", free_address()));
        assert_eq!(source.next().await.event, "closed");
    });
}

/// Two backends, one of which has the stream and the other the event.
async fn two_backends_tell_each_other(config: StackConfig, mut redis: Option<Redis>) {
    let stack = Stack::spawn(StackConfig { backends: 2, ..config }).await;
    let mut holder = Holder::of(&stack).await;
    let url = |backend: usize, path: &str| format!("http://{}{path}", stack.backends[backend].address);
    let path = holder.path();
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
            holder.takes(&stack, 10).await;
            stack.settled().await;
            for (source, last) in sources.iter_mut().zip(&mut last) {
                holder.is_up_to_date(&stack, source, last).await;
            }
            redis.start_again().await;
            wait_until("both hear each other again", LONG, &both_ring).await;
        }
        holder.takes(&stack, quantity).await;
        stack.settled().await;
        for (source, last) in sources.iter_mut().zip(&mut last) {
            holder.is_up_to_date(&stack, source, last).await;
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
    holder.takes(&stack, 2).await;
    stack.settled().await;
    holder.is_up_to_date(&stack, &mut source, &mut forgotten).await;

    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.database.restore(&backup).await;
    stack.start().await;
    let gap = source.next_event().await;
    assert_eq!((&*gap.event, &gap.id), ("gap", &None));
    let oldest = source.next_event().await;
    assert_eq!((oldest.seq(), oldest.id.as_deref()), (1, gap.data["oldest"].as_str()));
    // What happened since then is of the new epoch, though its number may have been another's.
    holder.takes(&stack, 3).await;
    stack.settled().await;
    let mut back = EventSource::open(&holder.url(&stack), forgotten.id.as_deref());
    assert_eq!(back.next_event().await.event, "gap");
});
