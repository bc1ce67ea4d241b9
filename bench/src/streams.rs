//! Streams of desktop apps, through both tiers: what an idle one takes, how soon an app is told, and what a storm of apps
//! that come back does.

mod broadcast;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tollgate_shared::Rng;
use tollgate_shared::process::raise_descriptor_limit;
use tollgate_tests::process::Process;
use tollgate_tests::stack::{JSON, STOP_TIMEOUT, WEBHOOK_PATH, sample};
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};
use tollgate_tests::wait::{LONG, wait_until};
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::budget::{Budget, Figure, Limit, at};
use crate::stream_clients::{Client, Seen};
use crate::{AT_ONCE, Effort, cpu, load};

/// The measurements of this file, in their order. Those that are asked for share one set of streams.
pub(crate) const NAMES: [&str; 4] = ["streams-idle", "streams-live", "streams-reconnect", "streams-broadcast"];

/// Events a second, each for one licence.
const EVENTS_A_SECOND: u32 = 100;

/// Which share of the clients comes back each second.
const RECONNECTING: f64 = 0.1;

/// How many customers come at once: what is sent for them is held in memory.
const CUSTOMERS_AT_ONCE: usize = 250;

/// How many files and sockets a tier needs beside its streams, at most.
const OTHERS: u64 = 200;

/// How long streams are left alone before their memory is looked at: each is written to by then, to see whether its client
/// is there.
const IDLE: Duration = Duration::from_secs(10);

/// How often it is looked whether all were told.
const POLL: Duration = Duration::from_millis(20);

const KIB: f64 = 1024.0;

pub(crate) async fn measure(effort: Effort, names: &[&str]) -> Result<Vec<Budget>> {
    raise_descriptor_limit();
    let mut scene = Scene::set(effort).await?;
    let at_rest = scene.held()?;
    let clients = scene.open(effort.streams).await?;
    sleep(IDLE).await;
    let idle = scene.held()?;
    let mut budgets = Vec::new();
    if names.contains(&"streams-idle") {
        budgets.extend(scene.idle(at_rest, idle, &clients).await?);
    }
    if names.contains(&"streams-live") {
        budgets.extend(scene.live(effort, &clients).await?);
    }
    if names.contains(&"streams-reconnect") {
        budgets.extend(scene.reconnecting(effort, idle, at_rest, clients).await?);
    }
    if names.contains(&"streams-broadcast") {
        budgets.extend(scene.broadcast().await?);
    }
    Ok(budgets)
}

/// Somebody with a licence.
struct Holder {
    stripe: Stripe,
    subscription: String,
    key: String,
}

/// Both tiers, and as many licences as there are streams.
struct Scene {
    stack: Stack,
    relay: Process,
    backend: Process,
    holders: Vec<Holder>,
    rng: Rng,
}

/// What a tier holds.
#[derive(Clone, Copy)]
struct Held {
    memory_kib: f64,
    descriptors: f64,
}

/// The relay's and the backend's.
type OfEach<T> = [T; 2];

impl Scene {
    async fn set(effort: Effort) -> Result<Self> {
        let config = StackConfig { durable: true, ..StackConfig::on(Engine::Postgres) };
        // All clients are at one address here, and nobody at one address gets more than a share of the connections.
        let config = config.relay("RELAY_TRUSTED_PROXIES", "127.0.0.1");
        let stack = Stack::prepare(config.relay("RUST_LOG", "info").backend("RUST_LOG", "info")).await;
        let (relay, backend) = start(&stack).await;
        let mut scene = Self { stack, relay, backend, holders: Vec::new(), rng: Rng::system() };
        eprintln!("making {} licences", effort.streams);
        while scene.holders.len() < effort.streams {
            scene.come(CUSTOMERS_AT_ONCE.min(effort.streams - scene.holders.len())).await?;
        }
        scene.stack.database.execute("ANALYZE").await;
        // What making them took is not what streams take.
        for process in [&mut scene.relay, &mut scene.backend] {
            process.terminate(STOP_TIMEOUT).await;
        }
        (scene.relay, scene.backend) = start(&scene.stack).await;
        for process in [&scene.relay, &scene.backend] {
            let (in_force, most) = cpu::descriptor_limits(process.id())?;
            ensure!(in_force == most, "a tier has not raised its limit of open files: {in_force} of {most}");
            ensure!(
                in_force > effort.streams as u64 + OTHERS,
                "no {} streams with {in_force} open files",
                effort.streams
            );
        }
        ensure!(scene.happen().await == 200, "a webhook was not taken");
        scene.stack.settled_within(LONG).await;
        drop(scene.open(AT_ONCE.min(effort.streams)).await?);
        scene.streams_are(0).await;
        sleep(Duration::from_secs(2)).await;
        Ok(scene)
    }

    /// So many customers come and pay.
    async fn come(&mut self, count: usize) -> Result<()> {
        let (mut holders, mut events) = (Vec::with_capacity(count), Vec::new());
        for _ in 0..count {
            let mut stripe = Stripe::fresh();
            let customer = stripe.sign_up("ada@example.com", "Ada Lovelace", None);
            let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
            events.extend(stripe.events(ApiVersion::Endive));
            stripe.occurrences.clear();
            holders.push((customer, Holder { stripe, subscription, key: String::new() }));
        }
        load::send(self.stack.relay.address, &self.stack.secrets.webhook, &events).await?;
        self.stack.settled_within(LONG).await;
        let stack = &self.stack;
        let with_keys = futures_util::stream::iter(holders).map(|(customer, holder)| async move {
            let shown = stack.customer(&customer).await.context("a customer who has paid is not known")?;
            let key =
                shown["licenses"][0]["key"].as_str().context("a customer who has paid has no licence")?.to_owned();
            anyhow::Ok(Holder { key, ..holder })
        });
        let with_keys: Vec<_> = with_keys.buffered(16).try_collect().await?;
        self.holders.extend(with_keys);
        Ok(())
    }

    /// Opens the streams of the first `count` licences, and waits until both tiers have them.
    async fn open(&self, count: usize) -> Result<Vec<Client>> {
        eprintln!("opening {count} streams");
        let seen = Arc::new(Seen::default());
        let address = self.stack.relay.address;
        let opening = futures_util::stream::iter(&self.holders[..count]).map(|holder| {
            let path = format!("/api/events/{}", holder.key);
            Client::open(address, path, Arc::clone(&seen))
        });
        let clients: Vec<_> = opening.buffer_unordered(AT_ONCE).try_collect().await?;
        self.streams_are(count as u64).await;
        Ok(clients)
    }

    async fn streams_are(&self, expected: u64) {
        let open = async |url: &str, name: &str| {
            let metrics = self.stack.http.get(url, &[]).await;
            sample(&String::from_utf8_lossy(&metrics.body), name)
        };
        let (relay, backend) = (self.stack.relay.admin_url("/metrics"), self.stack.private("/metrics"));
        wait_until("both tiers have the streams that there are", LONG, async || {
            let relay = open(&relay, "tollgate_relay_streams").await;
            let backend = open(&backend, "tollgate_backend_streams").await;
            (relay, backend) == (Some(expected), Some(expected))
        })
        .await;
    }

    fn held(&self) -> Result<OfEach<Held>> {
        let of = |process: &Process| {
            let memory_kib = cpu::resident_bytes(process.id())? as f64 / KIB;
            anyhow::Ok(Held { memory_kib, descriptors: cpu::descriptors(process.id())? as f64 })
        };
        Ok([of(&self.relay)?, of(&self.backend)?])
    }

    fn cpu(&self) -> Result<OfEach<Duration>> {
        Ok([cpu::of_process(self.relay.id())?, cpu::of_process(self.backend.id())?])
    }

    /// One thing happens to a licence, and Stripe tells the relay; gives what that is answered.
    fn happen(&mut self) -> impl Future<Output = u16> + use<> {
        let index = (self.rng.unit() * self.holders.len() as f64) as usize;
        let holder = &mut self.holders[index];
        holder.stripe.pass(1).bill_once(&holder.subscription);
        let event = holder.stripe.events(ApiVersion::Endive).pop().expect("a bill is an event");
        holder.stripe.occurrences.clear();
        let (http, url) = (self.stack.http.clone(), self.stack.public(WEBHOOK_PATH));
        let signature = self.stack.signature(&event.body);
        async move { http.post(&url, &[("stripe-signature", &signature), JSON], event.body).await.status }
    }

    async fn logged(&self) -> u64 {
        self.stack.database.number("SELECT count(*) FROM license_events").await as u64
    }

    async fn idle(&self, at_rest: OfEach<Held>, idle: OfEach<Held>, clients: &[Client]) -> Result<Vec<Budget>> {
        let streams = clients.len() as f64;
        let before = self.cpu()?;
        sleep(IDLE).await;
        let spent = self.cpu()?;
        let mut budgets = Vec::new();
        for (tier, [memory, descriptors, cpu]) in [
            [
                "idle stream, memory in the relay",
                "… descriptors in the relay",
                "… CPU of the relay, of all each second",
            ],
            ["… memory in the backend", "… descriptors in the backend", "… CPU of the backend, of all each second"],
        ]
        .into_iter()
        .enumerate()
        {
            let (at_rest, idle) = (at_rest[tier], idle[tier]);
            let each = (idle.memory_kib - at_rest.memory_kib) / streams;
            budgets.push(line("streams-idle", memory, "KiB", each, Limit::AtMost(16.0)));
            let each = (idle.descriptors - at_rest.descriptors) / streams;
            budgets.push(line("streams-idle", descriptors, "", each, Limit::Nothing));
            let a_second = spent[tier].saturating_sub(before[tier]).as_secs_f64() * 1000.0 / IDLE.as_secs_f64();
            budgets.push(line("streams-idle", cpu, "ms", a_second, Limit::Nothing));
        }
        Ok(budgets)
    }

    async fn live(&mut self, effort: Effort, clients: &[Client]) -> Result<Vec<Budget>> {
        let seen = Arc::clone(&clients[0].seen);
        let logged = self.begin(&seen).await;
        self.happen_for(effort.seconds, || {}).await?;
        self.all_told(&seen, logged).await?;
        let lags = seen.take_lags();
        let name = "streams-live";
        Ok(vec![
            line(
                name,
                "made to told, one licence's event, all streams open: p99",
                "ms",
                at(&lags, 0.99),
                Limit::AtMost(100.0),
            ),
            line(name, "… half of them", "ms", at(&lags, 0.5), Limit::Nothing),
            line(name, "… the latest", "ms", at(&lags, 1.0), Limit::Nothing),
        ])
    }

    async fn reconnecting(
        &mut self,
        effort: Effort,
        idle: OfEach<Held>,
        at_rest: OfEach<Held>,
        clients: Vec<Client>,
    ) -> Result<Vec<Budget>> {
        let seen = Arc::clone(&clients[0].seen);
        let logged = self.begin(&seen).await;
        let rng = Rng::system();
        let each_time = clients.len() as f64 * RECONNECTING / f64::from(EVENTS_A_SECOND);
        let mut due = 0.0;
        self.happen_for(effort.seconds, || {
            due += each_time;
            while due >= 1.0 {
                due -= 1.0;
                clients[(rng.unit() * clients.len() as f64) as usize].reconnect();
            }
        })
        .await?;
        self.all_told(&seen, logged).await?;
        self.streams_are(clients.len() as u64).await;
        let (lags, reconnects) = (seen.take_lags(), seen.take_reconnects());
        eprintln!("{} reconnects", reconnects.len());
        sleep(IDLE).await;
        let after = self.held()?;
        drop(clients);
        self.streams_are(0).await;
        sleep(IDLE).await;
        let closed = self.held()?;
        let name = "streams-reconnect";
        let mut budgets = vec![
            line(
                name,
                "a tenth of the clients reconnects each second: made to told, p99",
                "ms",
                at(&lags, 0.99),
                Limit::Nothing,
            ),
            line(
                name,
                "… from a client's cut to its next stream's begin, p99",
                "ms",
                at(&reconnects, 0.99),
                Limit::Nothing,
            ),
        ];
        for (tier, (open, none)) in [
            ("… memory of the relay afterwards, all streams open", "… and none open"),
            ("… memory of the backend afterwards, all streams open", "… and none open"),
        ]
        .into_iter()
        .enumerate()
        {
            let back = |what, measured: Held, before: Held| {
                let reference = Some(("before", one(before.memory_kib / KIB)));
                let limit = Limit::AtMostTimes(1.5);
                Budget { name, what, unit: "MiB", measured: one(measured.memory_kib / KIB), reference, limit }
            };
            budgets.push(back(open, after[tier], idle[tier]));
            budgets.push(Budget { limit: Limit::Nothing, ..back(none, closed[tier], at_rest[tier]) });
        }
        Ok(budgets)
    }

    /// Forgets what was seen, and returns how long the logs are.
    async fn begin(&self, seen: &Seen) -> u64 {
        seen.take_lags();
        seen.take_reconnects();
        seen.told.store(0, Ordering::Relaxed);
        self.logged().await
    }

    /// So many events a second, each for one licence, and something beside each.
    async fn happen_for(&mut self, seconds: u32, mut beside: impl FnMut()) -> Result<()> {
        eprintln!("{EVENTS_A_SECOND} events a second for {seconds} seconds");
        let mut ticks = interval(Duration::from_secs(1) / EVENTS_A_SECOND);
        // One that comes late is made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (began, mut under_way) = (Instant::now(), JoinSet::new());
        for _ in 0..seconds * EVENTS_A_SECOND {
            ticks.tick().await;
            beside();
            under_way.spawn(self.happen());
        }
        let statuses = under_way.join_all().await;
        eprintln!("{} events in {:.1} s", statuses.len(), began.elapsed().as_secs_f64());
        ensure!(statuses.iter().all(|status| *status == 200), "a webhook was not taken");
        Ok(())
    }

    /// Waits until each client was told all that was appended to its log since; none may have lost one, or had one twice.
    async fn all_told(&self, seen: &Seen, logged: u64) -> Result<()> {
        self.stack.settled_within(LONG).await;
        let made = self.logged().await - logged;
        let deadline = Instant::now() + LONG;
        while seen.told.load(Ordering::Relaxed) < made && Instant::now() < deadline {
            sleep(POLL).await;
        }
        let (lost, twice) = (seen.lost.load(Ordering::Relaxed), seen.twice.load(Ordering::Relaxed));
        let told = seen.told.load(Ordering::Relaxed);
        eprintln!("{made} events made, {told} told, {lost} lost, {twice} told twice");
        ensure!(lost == 0 && twice == 0 && told == made, "an event was lost, or told twice");
        Ok(())
    }
}

/// Relay and backend, started and ready.
async fn start(stack: &Stack) -> (Process, Process) {
    let (backend, relay) = (stack.backends[0].program().start(), stack.relay.program().start());
    for tier in [&stack.backends[0], &stack.relay] {
        tier.ready(&stack.http).await;
    }
    (relay, backend)
}

fn line(name: &'static str, what: &'static str, unit: &'static str, measured: f64, limit: Limit) -> Budget {
    Budget { name, what, unit, measured: one(measured), reference: None, limit }
}

fn one(measured: f64) -> Figure {
    let mut figure = Figure::default();
    figure.push(measured);
    figure
}
