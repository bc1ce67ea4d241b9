//! Processes killed, and the database stopped the hard way, under load: what was answered 200 is there, once in effect, and
//! the apps have been told of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::event_source::Told;
use tollgate_tests::holder::missed;
use tollgate_tests::load::{self, Load, LoadPlan, LoadReport, Repeats};
use tollgate_tests::python;
use tollgate_tests::redis::Redis;
use tollgate_tests::script::Script;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};
use tollgate_tests::wait::{SOON, wait_for};
use tollgate_tests::{Engine, EventSource, Stack, StackConfig, on_each_engine, wait_until};

/// What Stripe sends while things break.
const EVENTS: usize = 5000;

/// Whom it is about.
const CUSTOMERS: usize = 40;

/// So many at a time.
const CONNECTIONS: usize = 64;

/// Stripe repeats what was not answered 200, for days; here for 40 seconds.
const REPEATS: Repeats = Repeats { times_max: 400, pause: Duration::from_millis(100) };

/// How soon after the last start everything has been delivered.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9`
    Relay,
    /// `kill -9`
    Backend,
    /// `pg_ctl stop -m immediate`
    Postgres,
    /// `kill -9`
    Redis,
}

/// Each so often, in an order that says nothing.
fn faults(all: &[(Fault, usize)], rng: &Rng) -> Vec<Fault> {
    let mut faults: Vec<_> = all.iter().flat_map(|(fault, times)| std::iter::repeat_n(*fault, *times)).collect();
    for last in (1..faults.len()).rev() {
        faults.swap(last, (rng.unit() * (last + 1) as f64) as usize);
    }
    faults
}

async fn happen(fault: Fault, stack: &mut Stack, redis: Option<&mut Redis>) {
    let http = stack.http.clone();
    match fault {
        Fault::Relay => {
            stack.relay.kill();
            stack.relay.start(&http).await;
        }
        Fault::Backend => {
            stack.backend().kill();
            stack.backend().start(&http).await;
        }
        Fault::Postgres => {
            let server = stack.database.server().expect("only a stack on PostgreSQL has this fault");
            server.stop_immediately();
            server.start_again().await;
        }
        Fault::Redis => {
            let redis = redis.expect("only a stack with Redis has this fault");
            redis.stop();
            redis.start_again().await;
        }
    }
}

/// What decides at random. `TOLLGATE_SEED` makes it the same again.
fn seeded() -> Rng {
    let given = std::env::var("TOLLGATE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_le_bytes(Rng::system().bytes()));
    println!("faults by TOLLGATE_SEED={seed}");
    Rng::seeded(seed)
}

fn plan(stack: &Stack, events: &[Event], accepted: &Arc<AtomicUsize>) -> LoadPlan {
    LoadPlan {
        target: stack.relay.address,
        path: WEBHOOK_PATH.to_owned(),
        headers: Vec::new(),
        deliveries: load::signed(events, &stack.secrets.webhook),
        connections: CONNECTIONS,
        repeats: REPEATS,
        accepted: Arc::clone(accepted),
    }
}

/// Sends `events` while `fault` happens at some moment in between.
async fn load_with(
    fault: Fault,
    events: &[Event],
    stack: &mut Stack,
    redis: Option<&mut Redis>,
    rng: &Rng,
) -> LoadReport {
    let accepted = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(load::run(plan(stack, events, &accepted)));
    let moment = (rng.unit() * events.len() as f64 * 0.8) as usize;
    wait_until("the load goes on", SOON, async || accepted.load(Ordering::Relaxed) >= moment).await;
    happen(fault, stack, redis).await;
    sending.await.expect("the load does not panic")
}

on_each_engine!(nothing_answered_is_lost_or_counted_twice_while_everything_is_killed, async |engine| {
    let config = StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
    let mut stack = Stack::spawn(StackConfig { durable: true, ..config }).await;
    let Load { stripe, customers, beginnings, events } = load::paid_invoices(EVENTS, CUSTOMERS);
    stack.deliver_all(&beginnings, 16).await;
    stack.settled().await;

    let rng = seeded();
    let servers = if engine == Engine::Postgres { 5 } else { 0 };
    let faults = faults(&[(Fault::Relay, 10), (Fault::Backend, 10), (Fault::Postgres, servers)], &rng);
    for (events, fault) in events.chunks(EVENTS.div_ceil(faults.len())).zip(faults) {
        let report = load_with(fault, events, &mut stack, None, &rng).await;
        assert_eq!(report.given_up, Vec::<usize>::new(), "{fault:?}: {report:?}");
        assert_eq!(report.accepted(), events.len() as u64);
    }
    stack.start().await;
    stack.settled_within(DRAIN_TIMEOUT).await;

    let all = (beginnings.len() + events.len()) as i64;
    let database = &stack.database;
    assert_eq!(database.number("SELECT count(*) FROM webhook_events").await, all);
    let unfinished = "SELECT count(*) FROM webhook_events WHERE status NOT IN ('processed', 'ignored')";
    assert_eq!(database.number(unfinished).await, 0);
    for customer in &customers {
        stack.assert_true_to(&stripe, customer).await;
    }
    let paid = "SELECT count(*) FROM payments WHERE kind = 'invoice' AND status = 'succeeded'";
    assert_eq!(database.number(paid).await, (EVENTS + CUSTOMERS) as i64);
    let told_twice = "SELECT count(*) - count(DISTINCT data -> 'payment' ->> 'id')
                      FROM license_events
                      WHERE type = 'payment_succeeded'";
    assert_eq!(database.number(told_twice).await, 0);
    let told = "SELECT count(*) FROM license_events WHERE type = 'payment_succeeded'";
    assert!(database.number(told).await >= EVENTS as i64, "each payment was told to the apps");
    let gaps = "SELECT count(*)
                FROM (SELECT license_id FROM license_events GROUP BY license_id HAVING count(*) <> max(seq)) AS gaps";
    assert_eq!(database.number(gaps).await, 0);
});

/// What Stripe sends while one thing breaks, in the test of the machines.
const EVENTS_A_FAULT: usize = 40;

/// Of a few customers each.
const MACHINES_EACH: usize = 2;

/// A machine of a customer, with an app that goes away now and then and comes back.
struct Machine {
    customer: String,
    key: String,
    url: String,
    /// None while it is away.
    source: Option<EventSource>,
    first: Told,
    /// What its app has dealt with last: what it was told beyond that is lost when it goes away.
    last: Told,
    events: Vec<Value>,
}

impl Machine {
    async fn of(stack: &Stack, customer: &str, number: usize) -> Self {
        let shown = stack.customer(customer).await.expect("it is known");
        let key = shown["licenses"][0]["key"].as_str().expect("it has a licence").to_owned();
        let machine = format!("machine-{number}");
        let body = json!({ "licenseKey": key, "machineId": machine }).to_string();
        let activated = stack.http.post(&stack.public("/api/license/activate"), &[JSON], body).await;
        assert_eq!(activated.status, 201, "{}", activated.error_code());
        let url = stack.public(&format!("/api/events/{key}?machineId={machine}"));
        let mut source = EventSource::open(&url, None);
        let first = source.next_named("connected").await;
        let last = first.clone();
        Self { customer: customer.to_owned(), key, url, source: Some(source), first, last, events: Vec::new() }
    }

    fn deals_with(&mut self, told: Told) {
        if !["connected", "heartbeat"].contains(&&*told.event) {
            // The id of each is a cursor: of a gap, which has none, it would say so.
            assert_eq!(told.seq(), self.last.seq() + 1, "{told:?} after {:?}", self.last);
            self.events.push(told.data.clone());
            self.last = told;
        }
    }

    fn deals_with_what_it_was_told(&mut self) {
        while let Some(told) = self.source.as_mut().and_then(EventSource::next_unread) {
            self.deals_with(told);
        }
    }

    fn comes_back(&mut self) {
        let since = self.last.id.as_deref();
        self.source.get_or_insert_with(|| EventSource::open(&self.url, since));
    }

    /// Reads on until it has all that there is, and compares it with the log and with what Stripe sent.
    async fn has_each_event_once(&mut self, stack: &Stack, sent: &[Event]) {
        let log = missed(stack, &self.key, self.first.id.as_deref().expect("a cursor")).await;
        while self.events.len() < log.len() {
            let told = self.source.as_mut().expect("it is back").next().await;
            self.deals_with(told);
        }
        assert_eq!(self.events, log, "{}", self.customer);
        let payments = self.events.iter().filter(|event| event["type"] == "payment_succeeded");
        let told: Vec<_> =
            payments.map(|event| event["data"]["payment"]["id"].as_str().expect("it has an id")).collect();
        let paid = sent.iter().filter(|event| event.customer.as_ref() == Some(&self.customer));
        let paid = paid.map(|event| serde_json::from_slice::<Value>(&event.body).expect("an event is JSON"));
        let paid: BTreeSet<_> =
            paid.filter_map(|event| event["data"]["object"]["id"].as_str().map(str::to_owned)).collect();
        assert_eq!(told.len(), paid.len(), "{}: one for each of Stripe's", self.customer);
        assert_eq!(told.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>(), paid);
    }
}

async fn machines_come_back_to_everything(engine: Engine, kills: usize) {
    let mut redis = if engine == Engine::Postgres { Some(Redis::start().await) } else { None };
    let mut config = StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
    if let Some(redis) = &redis {
        config = config.backend("REDIS_URL", &redis.url());
    }
    let mut stack = Stack::spawn(StackConfig { durable: true, ..config }).await;
    let rng = seeded();
    let servers = if engine == Engine::Postgres { kills } else { 0 };
    let all = [(Fault::Relay, kills), (Fault::Backend, kills), (Fault::Postgres, servers), (Fault::Redis, servers)];
    let faults = faults(&all, &rng);
    let Load { customers, beginnings, events, .. } = load::paid_invoices(EVENTS_A_FAULT * faults.len(), 8);
    stack.deliver_all(&beginnings, 16).await;
    stack.settled().await;
    let mut machines = Vec::new();
    for customer in &customers {
        for number in 0..MACHINES_EACH {
            machines.push(Machine::of(&stack, customer, number).await);
        }
    }
    let mut times_away = 0;
    for (events, fault) in events.chunks(EVENTS_A_FAULT).zip(&faults) {
        let report = load_with(*fault, events, &mut stack, redis.as_mut(), &rng).await;
        assert_eq!(report.given_up, Vec::<usize>::new(), "{fault:?}: {report:?}");
        for machine in &mut machines {
            if machine.source.is_none() {
                if rng.unit() < 0.5 {
                    machine.comes_back();
                }
            } else if rng.unit() < 0.25 {
                machine.source = None;
                times_away += 1;
            } else if rng.unit() < 0.5 {
                machine.deals_with_what_it_was_told();
            }
        }
    }
    stack.start().await;
    stack.settled_within(DRAIN_TIMEOUT).await;
    for machine in &mut machines {
        machine.comes_back();
        machine.has_each_event_once(&stack, &events).await;
    }
    let told: usize = machines.iter().map(|machine| machine.events.len()).sum();
    let machines = machines.len();
    println!(
        "{} kills, {} events of Stripe's; {machines} machines, away {times_away} times, were told {told} events once each",
        faults.len(),
        events.len(),
    );
}

on_each_engine!(a_machine_that_comes_back_has_each_event_once, async |engine| {
    machines_come_back_to_everything(engine, 3).await;
});

/// What Stripe sends of somebody whose trial of a plan ends soon, of which a mail tells.
fn trial_of(address: &str) -> Vec<Event> {
    let mut stripe = Stripe::fresh();
    stripe.now = Clock::system().now().timestamp();
    let customer = stripe.sign_up(address, "Ada", None);
    let (subscription, _) = stripe.checkout(&customer, &Checkout { trial_days: Some(3), ..Checkout::of(&PRO_MONTHLY) });
    stripe.trial_will_end(&subscription);
    stripe.events(ApiVersion::Endive)
}

/// The next mail, to that address; its `Message-ID`.
async fn mail_to(address: &str, server: &mut Script) -> String {
    let mail = server.next_where("a mail", |_| true).await;
    assert_eq!(mail["to"], json!([address]));
    mail["headers"]["Message-ID"].to_string()
}

/// How often the newest message was tried, once it is sent.
async fn tries_until_sent(stack: &Stack) -> Value {
    let look = async || {
        let list = stack.operate(Method::GET, "/api/admin/messages?limit=1", &Value::Null).await.json();
        Some(list["data"][0].clone()).filter(|message| message["status"] == "sent")
    };
    wait_for("the message is sent", SOON, look).await["attempts"].clone()
}

on_each_engine!(a_mail_that_was_on_its_way_at_the_end_comes_twice_at_most, async |engine| {
    let mut server = python::start("mail_server.py", &[]);
    let port = server.next().await.expect("it says where it is")["port"].clone();
    let url = format!("smtp://127.0.0.1:{port}?tls=none");
    let config = StackConfig::on(engine).backend("SMTP_URL", &url).backend("MAIL_FROM", "billing@example.com");
    let mut stack = Stack::spawn(config).await;

    // Killed before it heard that the mail was taken: nobody knows, and programs that show mails know the second by its id.
    stack.tell(&trial_of("unanswered@example.net")).await;
    let first = mail_to("unanswered@example.net", &mut server).await;
    stack.backend().kill();
    // As if its five minutes were over.
    let is_over = "UPDATE messages SET next_attempt_at = '2026-01-01T00:00:00Z' WHERE status = 'queued'";
    stack.database.execute(is_over).await;
    stack.start_backends().await;
    assert_eq!(mail_to("unanswered@example.net", &mut server).await, first);
    assert_eq!(tries_until_sent(&stack).await, 2);

    // Told to stop before it heard: it waits until it has, and notes it.
    stack.tell(&trial_of("held@example.net")).await;
    mail_to("held@example.net", &mut server).await;
    stack.backend().ask_to_stop();
    let address = stack.backends[0].address;
    wait_until("it stops", SOON, async || TcpStream::connect(address).await.is_err()).await;
    let somebody = TcpStream::connect(format!("127.0.0.1:{port}")).await;
    assert_eq!(stack.backend().exited().await.code(), Some(0));
    stack.start_backends().await;
    assert_eq!(tries_until_sent(&stack).await, 1);
    drop(somebody);

    // Told to stop, and the server does not say whether it has taken the mail: nobody waits for that for longer than a stop may
    // take, and another process sends it again.
    stack.tell(&trial_of("unanswered@example.org")).await;
    let first = mail_to("unanswered@example.org", &mut server).await;
    stack.backend().ask_to_stop();
    assert_eq!(stack.backend().exited().await.code(), Some(0));
    stack.database.execute(is_over).await;
    stack.start_backends().await;
    assert_eq!(mail_to("unanswered@example.org", &mut server).await, first);
    assert_eq!(tries_until_sent(&stack).await, 2);

    // Had any of them come once more, it would be the next.
    stack.database.execute(is_over).await;
    stack.tell(&trial_of("ada@example.net")).await;
    mail_to("ada@example.net", &mut server).await;
});

mod long {
    use super::*;

    on_each_engine!(a_machine_that_comes_back_has_each_event_once, async |engine| {
        machines_come_back_to_everything(engine, 100).await;
    });
}
