//! Clients that come and go at random while events are made: each is told every event, once, in order.

use futures_util::future::join_all;
use tollgate_shared::Rng;

use super::*;

const EVENTS: i64 = 120;
const CLIENTS: u64 = 6;

/// Reads a stream for a while, leaves, comes back with what it saw last; until it has seen the last event.
async fn come_and_go(client: &Client, key: &str, from: &str, rng: &Rng) -> Vec<i64> {
    let (mut seen, mut last) = (Vec::new(), from.to_owned());
    while seen.last() != Some(&EVENTS) {
        let mut listener = Listener::open(client, key, Some(&last)).await;
        let patience = (rng.unit() * 25.0) as usize;
        let connected = listener.next().await.unwrap();
        assert_eq!((&*connected.event, connected.id.as_deref()), ("connected", Some(&*last)));
        for _ in 0..patience {
            if seen.last() == Some(&EVENTS) {
                break;
            }
            let told = listener.next().await.expect("a stream goes on");
            seen.push(number_of(&told));
            last = told.id.expect("an event of the log has an id");
        }
    }
    seen
}

#[test]
fn who_comes_and_goes_is_told_each_event_once_and_in_order() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db.clone()).await;
        let other = another_on(db).await;
        let (rng, client) =
            (Rng::seeded(5), client_of(&app.inner, Limits { poll: Duration::from_millis(50), ..LIMITS }).await);
        let rngs: Vec<_> = (0..CLIENTS).map(Rng::seeded).collect();
        let clients = join_all(rngs.iter().map(|rng| come_and_go(&client, &key, &cursor, rng)));
        let events = async {
            for number in 1..=EVENTS {
                // By two processes, of which one is not heard here.
                let by = if rng.unit() < 0.5 { &app.inner } else { &other.inner };
                happen(by, number).await;
                if rng.unit() < 0.2 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let (told, ()) = tokio::join!(clients, events);
        for numbers in told {
            assert_eq!(numbers, (1..=EVENTS).collect::<Vec<_>>());
        }
    });
}
