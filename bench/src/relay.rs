//! The relay beside the least that a receiver can be.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tollgate_tests::process::{Process, free_address};
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::bare_server::BareServer;
use crate::budget::{Budget, Figure, Limit};
use crate::{AT_ONCE, Effort, cpu, events, load, sink};

/// Nothing that a round leaves behind takes longer to be delivered.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// With nothing to forward to: verify, journal, answer.
pub(crate) async fn measure_alone(effort: Effort) -> Result<Vec<Budget>> {
    // Nobody listens there.
    let pair = Pair::start(free_address()).await?;
    let (mut relay, mut bare) = (Figure::default(), Figure::default());
    pair.warm_up().await?;
    for _ in 0..effort.rounds {
        let (ours, theirs) = (events::fresh(effort.events), events::fresh(effort.events));
        bare.push(load::send(pair.bare.address, &pair.bare.secret, &theirs).await?.rate());
        relay.push(load::send(pair.stack.relay.address, &pair.bare.secret, &ours).await?.rate());
    }
    Ok(vec![Budget {
        name: "relay",
        what: "relay, verify + journal + answer, nothing to forward to",
        unit: "events/s",
        measured: relay,
        reference: Some(("a bare hyper server that verifies", bare)),
        limit: Limit::AtLeastShare(0.7),
    }])
}

/// With a backend that takes everything at once.
pub(crate) async fn measure_forwarding(effort: Effort) -> Result<Vec<Budget>> {
    let pair = Pair::start(sink::start().await?).await?;
    let (mut relay, mut bare) = (Figure::default(), Figure::default());
    pair.warm_up().await?;
    pair.stack.settled_within(DELIVERY_TIMEOUT).await;
    for _ in 0..effort.rounds {
        let (ours, theirs) = (events::fresh(effort.events), events::fresh(effort.events));

        let before = cpu::of_process(pair.bare.id())?;
        load::send(pair.bare.address, &pair.bare.secret, &theirs).await?;
        bare.push(micros_each(cpu::of_process(pair.bare.id())?.saturating_sub(before), effort.events));

        let before = cpu::of_process(pair.relay.id())?;
        load::send(pair.stack.relay.address, &pair.bare.secret, &ours).await?;
        pair.stack.settled_within(DELIVERY_TIMEOUT).await;
        relay.push(micros_each(cpu::of_process(pair.relay.id())?.saturating_sub(before), effort.events));
    }
    Ok(vec![Budget {
        name: "relay-forward",
        what: "relay, forwarding too, 64 in flight: CPU an event",
        unit: "µs",
        measured: relay,
        reference: Some(("a bare hyper server that verifies", bare)),
        limit: Limit::AtMostTimes(2.5),
    }])
}

/// Microseconds an event.
pub(crate) fn micros_each(all: Duration, events: usize) -> f64 {
    all.as_secs_f64() * 1e6 / events as f64
}

/// A relay and a bare server that know the same secret.
struct Pair {
    relay: Process,
    bare: BareServer,
    /// Below the processes, so that its folder outlives them.
    stack: Stack,
}

impl Pair {
    async fn start(backend: SocketAddr) -> Result<Self> {
        let config = StackConfig::on(Engine::Sqlite)
            .relay("RUST_LOG", "info")
            .relay("BACKEND_URL", &format!("http://{backend}"));
        let stack = Stack::prepare(config).await;
        let relay = stack.relay.program().start();
        stack.relay.ready(&stack.http).await;
        let bare = BareServer::start(&stack.path(""), &stack.secrets.webhook).await?;
        Ok(Self { relay, bare, stack })
    }

    async fn warm_up(&self) -> Result<()> {
        for address in [self.bare.address, self.stack.relay.address] {
            load::send(address, &self.bare.secret, &events::fresh(AT_ONCE * 16)).await?;
        }
        Ok(())
    }
}
