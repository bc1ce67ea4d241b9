//! How messages are taken up, and what comes of those that nobody can make or hand over, on both engines.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use futures_util::future::join_all;
use rocket::http::{Header, Method};
use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_db::{Db, DbError, Engine, Faults, Moment, Operation};
use tollgate_domain::notifications::sending::Queue;
use tollgate_domain::notifications::{self, Claimed, Message, Recipient, Template};

use super::sending::{app_with_mail, ask_as, customer, mail_server, messages, tell, tell_of};
use crate::app::App;
use crate::channels::Outcome;
use crate::notifications::outcomes::{Ended, Outcomes};
use crate::notifications::sending::send_due;
use crate::on_each_engine;
use crate::testing::{AUTH_SECRET, TestApp, bearer, sign_token};

/// Nobody listens there.
const NO_SERVER: &str = "smtp://127.0.0.1:1?tls=none";

/// A message is tried again so many minutes after the attempt before.
const MINUTES: [u64; 6] = [1, 4, 25, 90, 240, 1080];

const LETTERS: &str = "/api/dlq?source=notification";

/// An operator who is signed in for good.
fn operator() -> Header<'static> {
    let claims = json!({ "sub": "ada", "role": "admin", "exp": 4_000_000_000_i64 });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

fn user() -> Recipient {
    Recipient::user("user_1", Some("cus_1"))
}

/// Each e-mail about a payout: its status, its attempts, and its last error.
async fn mails(app: &TestApp) -> Vec<(String, i64, Value)> {
    let mails = messages(app).await.into_iter().filter(|row| row["channel"] == "email");
    let of = |row: Value| {
        (row["status"].as_str().unwrap().to_owned(), row["attempts"].as_i64().unwrap(), row["lastError"].clone())
    };
    mails.map(of).collect()
}

async fn claim(app: &TestApp, limit: i64) -> Claimed {
    let mut tx = app.inner.begin_write().await.unwrap();
    let claimed = notifications::claim(&mut tx, Queue::Email, app.inner.clock.now(), limit).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

#[test]
fn a_message_whose_making_panics_ends_as_a_dead_letter_alone() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("en")).unwrap();
        // As wide as no memory is, of an amount that is as large.
        let subject = "{{ 'Payout'|indent((amount or 1) * 2) }}";
        fs::write(folder.path().join("en/pod_payout.subject"), subject).unwrap();
        let variables = [
            ("SMTP_URL", &*url),
            ("MAIL_FROM", "billing@example.com"),
            ("TEMPLATES_DIR", folder.path().to_str().unwrap()),
        ];
        let app = TestApp::with(db, &variables).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell_of(&app, user(), Template::PodPayout, "pay_0", i64::MAX).await;
        for number in 1..=3 {
            tell_of(&app, user(), Template::PodPayout, &format!("pay_{number}"), 5000).await;
        }
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(4));
        for _ in 1..=3 {
            assert_eq!(server.next().await.unwrap()["headers"]["Subject"], "Payout", "it holds up no other");
        }
        let waits = mails(&app).await.into_iter().find(|(status, ..)| status == "queued");
        assert_eq!(waits, Some(("queued".to_owned(), 1, json!("it panicked"))));
        for minutes in MINUTES {
            app.inner.clock.advance(StdDuration::from_secs(minutes * 60));
            assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1), "after {minutes} minutes");
        }
        app.inner.clock.advance(StdDuration::from_secs(48 * 3600));
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(0), "and no more");
        let letters = app.as_user(Method::Get, LETTERS, &operator()).await.json();
        let letter = &letters["data"][0];
        assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("retries_exhausted"), &json!(7)), "{letters}");
        assert_eq!(letters["data"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn what_ends_each_process_that_takes_it_ends_as_a_dead_letter() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let app = app_with_mail(db, &url).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        // Seven processes die of it, one after the other.
        for minutes in [0, 5, 5, 25, 90, 240, 1080] {
            app.inner.clock.advance(StdDuration::from_secs(minutes * 60));
            assert_eq!(claim(&app, 10).await.to_try.len(), 1, "after {minutes} minutes");
            assert_eq!(claim(&app, 10).await, Claimed::default(), "somebody has it");
        }
        app.inner.clock.advance(StdDuration::from_secs(300));
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        let error = "nobody lived to say what came of the last attempt";
        assert_eq!(mails(&app).await, [("dead_lettered".to_owned(), 7, json!(error))]);
        let letter = app.as_user(Method::Get, LETTERS, &operator()).await.json()["data"][0].clone();
        assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("retries_exhausted"), &json!(7)));

        // An operator may have it sent all the same.
        let retry = format!("/api/dlq/retry/{}", letter["id"].as_str().unwrap());
        assert_eq!(ask_as(&app, &operator(), Method::Post, &retry, &json!({})).await.status, 200);
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        assert_eq!(server.next().await.unwrap()["to"], json!(["ada@example.net"]));
        assert_eq!(mails(&app).await[0].0, "sent");
    });
}

#[test]
fn what_fails_before_a_message_is_sent_costs_no_attempt() {
    on_each_engine!(async |db: Db| {
        let faults = Arc::new(Faults::default());
        let app = app_with_mail(db.clone(), NO_SERVER).await;
        // Of what else the process does none fails.
        let failing = App { db: db.with_faults(faults.clone()), ..app.inner.clone() };
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodPayout, "pay_0").await;
        let before = faults.counted().len();
        send_due(&failing, Queue::Email).await.unwrap();
        let operations = faults.counted().split_off(before);
        let taken = operations.iter().position(|operation| *operation == Operation::Commit).unwrap();
        app.inner.clock.advance(StdDuration::from_secs(25 * 3600));
        tell(&app, Template::PodPayout, "pay_1").await;
        for nth in 1..=taken + 1 {
            faults.arm(nth, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
            assert!(send_due(&failing, Queue::Email).await.is_err(), "at {nth} of {operations:?}");
            let attempts: Vec<_> = mails(&app).await.into_iter().map(|(_, attempts, _)| attempts).collect();
            assert_eq!(attempts, [1, 0], "at {nth} of {operations:?}");
        }
        assert_eq!(send_due(&failing, Queue::Email).await, Ok(2), "and nobody had to wait");
    });
}

#[test]
fn two_who_take_at_once_get_others_and_wait_for_nobody() {
    on_each_engine!(async |db: Db| {
        let app = app_with_mail(db, NO_SERVER).await;
        for number in 1..=4 {
            tell(&app, Template::PodPayout, &format!("pay_{number}")).await;
        }
        let now = app.inner.clock.now();
        let mut first = app.inner.begin_write().await.unwrap();
        let taken = notifications::claim(&mut first, Queue::Email, now, 2).await.unwrap();
        // On SQLite one writes at a time.
        let second = match first.engine() {
            Engine::Postgres => timeout(StdDuration::from_secs(2), claim(&app, 4)).await.expect("it does not wait"),
            Engine::Sqlite => {
                first.commit().await.unwrap();
                claim(&app, 4).await
            }
        };
        let ids: BTreeSet<_> = taken.to_try.iter().chain(&second.to_try).map(|message| &message.id).collect();
        assert_eq!((taken.to_try.len(), second.to_try.len(), ids.len()), (2, 2, 4));
    });
}

#[test]
fn what_came_of_several_is_written_at_once_and_harms_no_other() {
    on_each_engine!(async |db: Db| {
        let faults = Arc::new(Faults::default());
        let app = app_with_mail(db.clone(), NO_SERVER).await;
        // Of what else the process does none fails.
        let failing = App { db: db.with_faults(faults.clone()), ..app.inner.clone() };
        let took = async |subject: &str| -> Vec<Message> {
            for number in 0..8 {
                tell(&app, Template::PodPayout, &format!("{subject}_{number}")).await;
            }
            claim(&app, 8).await.to_try
        };
        let end = |number: usize| match number % 4 {
            0 => Outcome::later("it could not be reached"),
            1 => Outcome::Refused { code: "550".to_owned(), error: "no such user".to_owned() },
            _ => Outcome::Sent,
        };
        let note_all = async |messages: &[Message], outcomes: &Outcomes| {
            let noted = messages
                .iter()
                .enumerate()
                .map(|(number, message)| outcomes.note(&failing, message.clone(), Ended::Channel(end(number))));
            let failed = join_all(noted).await.into_iter().filter(Result::is_err).count();
            assert_eq!(failed, 0);
        };
        let ends = async || {
            let mut counts = [0; 3];
            for (status, ..) in mails(&app).await {
                let names = ["queued", "dead_lettered", "sent"];
                counts[names.iter().position(|name| *name == status).unwrap()] += 1;
            }
            counts
        };
        let (messages, before) = (took("a").await, faults.counted().len());
        note_all(&messages, &Outcomes::default()).await;
        let commits = faults.counted()[before..].iter().filter(|done| **done == Operation::Commit).count();
        assert_eq!((commits, ends().await), (2, [2, 2, 4]), "one, and what has come while that was written");

        // What one of them cannot be written for, the others are written without.
        let messages = took("b").await;
        let outcomes = Outcomes::default();
        let first = outcomes.note(&failing, messages[2].clone(), Ended::Channel(Outcome::Sent));
        first.await.unwrap();
        faults.arm(6, Moment::Before, DbError::Other { code: "defect".to_owned(), message: String::new() });
        let rest: Vec<_> = messages.iter().enumerate().filter(|(number, _)| *number != 2).collect();
        let noted = rest
            .iter()
            .map(|(number, message)| outcomes.note(&failing, (*message).clone(), Ended::Channel(end(*number))));
        join_all(noted).await;
        assert!(!faults.is_armed());
        assert_eq!(ends().await, [4, 4, 8]);
    });
}
