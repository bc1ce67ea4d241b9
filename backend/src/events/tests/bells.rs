//! Bells between two processes on one database.

use tollgate_db::Engine;
use tollgate_db::testing::{Database, block_on};
use tollgate_shared::{Rng, Secret};
use tollgate_tests::redis::Redis;

use super::*;
use crate::bells::{Bells, exchange};
use crate::schema::testing::migrated;

/// An app on `database` whose bells ring across processes, by Redis where that is given.
async fn connected(database: &Database, redis: Option<&Redis>) -> TestApp {
    let app = another_on(database.open()).await;
    // Each process has a name of its own.
    let inner = App { bells: Bells::new(&Rng::system()), ..app.inner.clone() };
    let (url, redis_url) = (database.url().parse().unwrap(), redis.map(|redis| Secret::new(redis.url())));
    exchange::start(&inner.bells, &inner.tasks, &inner.rng, &inner.db, &url, redis_url.as_ref());
    let name = if redis.is_some() { "redis" } else { "postgres" };
    wait_until("it hears the others", async || inner.bells.line() == (name, true)).await;
    TestApp { inner, ..app }
}

/// Two processes, one of which has the streams of a licence and two machines, and the other what happens.
async fn two_ring_for_each_other(redis: Option<Redis>) {
    let database = migrated(Engine::Postgres).await;
    let (first, key, _) = with_license(database.open()).await;
    for machine in ["one", "two"] {
        activate(&first, &key, machine).await;
    }
    let [here, there] = [connected(&database, redis.as_ref()).await, connected(&database, redis.as_ref()).await];
    let client = client_of(&here.inner, WITHOUT_POLL).await;
    let mut listener = Listener::open(&client, &key, None).await;
    assert_eq!(listener.next().await.unwrap().event, "connected");
    for number in 1..=3 {
        happen(&there.inner, number).await;
        assert_eq!(listener.numbers(1).await, [number]);
    }

    let mut machines =
        [Listener::of_machine(&client, &key, "one").await, Listener::of_machine(&client, &key, "two").await];
    for machine in &mut machines {
        assert_eq!(machine.next().await.unwrap().event, "connected");
    }
    there.inner.clock.advance(Duration::from_secs(1));
    let elsewhere = client_of(&there.inner, WITHOUT_POLL).await;
    let mut newer = Listener::of_machine(&elsewhere, &key, "one").await;
    assert_eq!(newer.next().await.unwrap().event, "connected");
    let [one, two] = &mut machines;
    assert_eq!(one.next().await, None, "the machine's older stream");
    happen(&there.inner, 4).await;
    assert_eq!((newer.numbers(1).await, two.numbers(1).await), (vec![4], vec![4]));
}

#[test]
fn two_processes_on_one_server_ring_for_each_other() {
    block_on(Box::pin(two_ring_for_each_other(None)));
}

#[test]
fn two_processes_ring_for_each_other_by_redis() {
    block_on(async { Box::pin(two_ring_for_each_other(Some(Redis::start().await))).await });
}

#[test]
fn a_process_whose_listening_connection_is_cut_listens_again() {
    block_on(async {
        let database = migrated(Engine::Postgres).await;
        let (_first, key, _) = with_license(database.open()).await;
        let (here, there) = (connected(&database, None).await, connected(&database, None).await);
        let client = client_of(&here.inner, WITHOUT_POLL).await;
        let mut listener = Listener::open(&client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let (ended,): (i64,) = there.inner.db.read().await.unwrap().sql(cut).one().await.unwrap();
        assert_eq!(ended, 2);
        // Told while nobody listens, or once somebody does again: either way it is looked for.
        happen(&there.inner, 1).await;
        assert_eq!(listener.numbers(1).await, [1]);
        for app in [&here, &there] {
            wait_until("it hears the others again", async || app.inner.bells.line() == ("postgres", true)).await;
        }
        happen(&there.inner, 2).await;
        assert_eq!(listener.numbers(1).await, [2]);
    });
}
