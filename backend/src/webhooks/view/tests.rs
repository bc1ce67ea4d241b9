//! Every list goes by an index, whatever it is filtered by.

use tollgate_db::Engine;
use tollgate_db::testing::block_on;

use super::*;
use crate::schema::testing::migrated;

/// Each combination of status, type and customer or object.
fn every_filter() -> Vec<Filter> {
    let statuses = [Status::Processed, Status::Failed, Status::DeadLettered, Status::Ignored].map(Some);
    let mut filters = Vec::new();
    for status in statuses.into_iter().chain([None]) {
        for event_type in [None, Some("invoice.paid".to_owned())] {
            for customer in [None, Some("cus_1".to_owned())] {
                filters.push(Filter { status, event_type: event_type.clone(), customer, object: None });
            }
            let object = Some("in_1".to_owned());
            filters.push(Filter { status, event_type: event_type.clone(), customer: None, object });
        }
    }
    filters
}

#[test]
fn every_list_of_events_goes_by_an_index_on_both_engines() {
    block_on(async {
        let statements: Vec<_> = every_filter().iter().map(|filter| page_sql(filter).to_owned()).collect();
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
        }
    });
}

/// Takes minutes: `scripts/test --long`.
mod long {
    use tollgate_db::testing::wait_until;
    use tollgate_shared::Clock;

    use super::*;
    use crate::schema::testing::on_each_engine;

    const EVENTS: i64 = 500_000;

    /// Events of forty types and fifty thousand customers, of whom one has five thousand. Of sixteen types all are ignored.
    const FILL: [(Engine, &str); 2] = [
        (
            Engine::Postgres,
            "INSERT INTO webhook_events (id, type, status, attempts, customer_id, object_id, received_at, payload)
             SELECT 'evt_' || md5(n::text), 'type.' || n % 40,
                    CASE WHEN n % 40 < 16 THEN 'ignored' WHEN n % 997 = 0 THEN 'dead_lettered'
                         WHEN n % 4999 = 0 THEN 'failed' ELSE 'processed' END,
                    1, CASE WHEN n % 100 = 0 THEN 'cus_heavy' ELSE 'cus_' || n % 50000 END, 'in_' || n,
                    timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second',
                    convert_to(repeat(md5(n::text), 30), 'UTF8')
             FROM generate_series($1 + 1, $1 + 10000) AS n",
        ),
        (
            Engine::Sqlite,
            "WITH RECURSIVE s (n) AS (SELECT $1 + 1 UNION ALL SELECT n + 1 FROM s WHERE n < $1 + 10000)
             INSERT INTO webhook_events (id, type, status, attempts, customer_id, object_id, received_at, payload)
             SELECT 'evt_' || hex(randomblob(16)), 'type.' || n % 40,
                    CASE WHEN n % 40 < 16 THEN 'ignored' WHEN n % 997 = 0 THEN 'dead_lettered'
                         WHEN n % 4999 = 0 THEN 'failed' ELSE 'processed' END,
                    1, CASE WHEN n % 100 = 0 THEN 'cus_heavy' ELSE 'cus_' || n % 50000 END, 'in_' || n,
                    strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1767225600 + n, 'unixepoch'), randomblob(960)
             FROM s",
        ),
    ];

    /// What is asked for: something that is there often, seldom, and not at all.
    fn filters() -> Vec<Filter> {
        let statuses = [Status::Processed, Status::Failed, Status::DeadLettered, Status::Ignored].map(Some);
        let mut filters = Vec::new();
        for status in statuses.into_iter().chain([None]) {
            for event_type in [None, Some("type.3"), Some("type.20"), Some("of.no.event")] {
                for customer in [None, Some("cus_77"), Some("cus_heavy"), Some("cus_nobody")] {
                    let [event_type, customer] = [event_type, customer].map(|text| text.map(str::to_owned));
                    filters.push(Filter { status, event_type, customer, object: None });
                }
            }
        }
        filters
    }

    #[test]
    fn half_a_million_events_are_listed_by_any_filter() {
        on_each_engine(async |db| {
            let (_, fill) = FILL.into_iter().find(|(engine, _)| *engine == db.engine()).unwrap();
            for start in (0..EVENTS).step_by(10_000) {
                let mut tx = db.write().await.unwrap();
                tx.sql(fill).bind(start).run().await.unwrap();
                tx.commit().await.unwrap();
            }
            let count = async || {
                let mut tx = db.read_list().await.unwrap();
                tx.sql("SELECT count(*) FROM webhook_events").one::<(i64,)>().await.unwrap().0
            };
            wait_until("every event is there", async || count().await == EVENTS).await;
            let clock = Clock::system();
            let mut slowest = Vec::new();
            for filter in filters() {
                let mut page = Page { limit: 100, after: None };
                for number in 1..=5 {
                    let mut tx = db.read_list().await.unwrap();
                    let began = clock.now();
                    let listed = list(&mut tx, &filter, &page).await.unwrap();
                    let millis = (clock.now() - began).num_microseconds().unwrap() as f64 / 1000.0;
                    slowest.push((millis, number, listed.data.len(), filter.clone()));
                    let Some(cursor) = listed.next_cursor else { break };
                    page.after = Position::from_cursor(&cursor);
                }
            }
            slowest.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (millis, number, rows, filter) in slowest.iter().take(10) {
                eprintln!("{millis:8.2} ms: {rows} rows of page {number} by {filter:?}");
            }
        });
    }
}
