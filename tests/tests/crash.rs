//! Processes killed, and the database stopped the hard way, under load: what was answered 200 is there, once in effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_shared::Rng;
use tollgate_tests::load::{self, Load, LoadPlan, LoadReport, Repeats};
use tollgate_tests::stack::WEBHOOK_PATH;
use tollgate_tests::stripe::Event;
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine, wait_until};

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
}

/// Ten of each tier, five of the server where there is one, in an order that says nothing.
fn faults(engine: Engine, rng: &Rng) -> Vec<Fault> {
    let servers = if engine == Engine::Postgres { 5 } else { 0 };
    let all = [(Fault::Relay, 10), (Fault::Backend, 10), (Fault::Postgres, servers)];
    let mut faults: Vec<_> = all.into_iter().flat_map(|(fault, times)| std::iter::repeat_n(fault, times)).collect();
    for last in (1..faults.len()).rev() {
        faults.swap(last, (rng.unit() * (last + 1) as f64) as usize);
    }
    faults
}

async fn happen(fault: Fault, stack: &mut Stack) {
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
    }
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
async fn load_with(fault: Fault, events: &[Event], stack: &mut Stack, rng: &Rng) -> LoadReport {
    let accepted = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(load::run(plan(stack, events, &accepted)));
    let moment = (rng.unit() * events.len() as f64 * 0.8) as usize;
    wait_until("the load goes on", SOON, async || accepted.load(Ordering::Relaxed) >= moment).await;
    happen(fault, stack).await;
    sending.await.expect("the load does not panic")
}

on_each_engine!(nothing_answered_is_lost_or_counted_twice_while_everything_is_killed, async |engine| {
    let config = StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
    let mut stack = Stack::spawn(StackConfig { durable: true, ..config }).await;
    let Load { stripe, customers, beginnings, events } = load::paid_invoices(EVENTS, CUSTOMERS);
    stack.deliver_all(&beginnings, 16).await;
    stack.settled().await;

    let given = std::env::var("TOLLGATE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from_le_bytes(Rng::system().bytes()));
    println!("faults by TOLLGATE_SEED={seed}");
    let rng = Rng::seeded(seed);
    let faults = faults(engine, &rng);
    for (events, fault) in events.chunks(EVENTS.div_ceil(faults.len())).zip(faults) {
        let report = load_with(fault, events, &mut stack, &rng).await;
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
