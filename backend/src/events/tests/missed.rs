//! What was missed, asked for.

use super::*;

async fn ask(app: &TestApp, key: &str, query: &str) -> TestResponse {
    TestResponse::of(app.client.get(format!("/api/events/{key}/missed{query}"))).await
}

fn numbers(page: &Value) -> Vec<i64> {
    page["data"].as_array().unwrap().iter().filter_map(|event| event["data"]["number"].as_i64()).collect()
}

#[test]
fn pages_follow_each_other_until_there_is_no_more() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db).await;
        for number in 1..=30 {
            happen(&app.inner, number).await;
        }
        let mut since = cursor;
        for (limit, expected, more) in
            [("", 1..=25, true), ("&limit=3", 26..=28, true), ("&limit=1000", 29..=30, false)]
        {
            let page = ask(&app, &key, &format!("?since={since}{limit}")).await.json();
            assert_eq!(numbers(&page), expected.collect::<Vec<_>>());
            assert_eq!((page["hasMore"].as_bool(), &page["gap"]), (Some(more), &Value::Null));
            since = page["nextCursor"].as_str().unwrap().to_owned();
        }
        let page = ask(&app, &key, &format!("?since={since}")).await.json();
        assert_eq!(page, json!({ "data": [], "hasMore": false, "nextCursor": since, "gap": null }));
        happen(&app.inner, 31).await;
        assert_eq!(numbers(&ask(&app, &key, &format!("?since={since}")).await.json()), [31]);
    });
}

#[test]
fn they_are_the_events_of_the_stream() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        happen(&app.inner, 1).await;
        let page = ask(&app, &key, "").await.json();
        let mut listener = Listener::open(&app.client, &key, Some("0")).await;
        listener.next().await.unwrap();
        let events = page["data"].as_array().unwrap();
        assert!(events.len() > 1, "{events:?}");
        for event in events {
            assert_eq!(&listener.next().await.unwrap().data, event);
        }
        assert_eq!(page, ask(&app, &key, "?since=0").await.json());
    });
}

#[test]
fn what_can_no_longer_be_told_is_named_as_a_gap() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db.clone()).await;
        for number in 1..=6 {
            happen(&app.inner, number).await;
        }
        let (epoch, seq) = cursor.split_once('.').unwrap();
        let at = |number: i64| format!("{epoch}.{}", seq.parse::<i64>().unwrap() + number);
        let mut tx = db.write().await.unwrap();
        let sql = "DELETE FROM license_events WHERE seq <= $1 OR seq = $2";
        tx.sql(sql).bind(seq_of(&at(2))).bind(seq_of(&at(5))).run().await.unwrap();
        tx.commit().await.unwrap();
        for since in [at(0), format!("{}.1", "0".repeat(16)), at(7)] {
            let page = ask(&app, &key, &format!("?since={since}")).await.json();
            assert_eq!(page["gap"], json!({ "oldest": at(3), "newest": at(6) }), "{since}");
            assert_eq!((numbers(&page), &page["nextCursor"]), (vec![3, 4], &at(4).into()), "{since}");
            assert_eq!(page["hasMore"], true);
        }
        let page = ask(&app, &key, &format!("?since={}", at(4))).await.json();
        assert_eq!(page["gap"], json!({ "oldest": at(6), "newest": at(6) }), "one that was removed from the middle");
        assert_eq!((numbers(&page), &page["hasMore"]), (vec![6], &false.into()));
    });
}

#[test]
fn what_is_asked_wrongly_is_refused_by_name() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db).await;
        for (query, param) in [
            ("?since=", "since"),
            ("?since=41", "since"),
            ("?since=refused", "since"),
            ("?limit=0", "limit"),
            ("?limit=1001", "limit"),
            ("?limit=x", "limit"),
        ] {
            let answer = ask(&app, &key, query).await;
            let expected = (422, "invalid_parameter".to_owned(), Some(param.to_owned()));
            assert_eq!(answer.refused_parameter(), expected, "{query}");
        }
        for unknown in [UNKNOWN_KEY, "x"] {
            let answer = ask(&app, unknown, &format!("?since={cursor}")).await;
            assert_eq!(answer.refusal(), (404, "license_not_found".to_owned()));
        }
    });
}
