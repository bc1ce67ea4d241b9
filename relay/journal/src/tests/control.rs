//! The socket through which commands reach an open journal.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::*;
use crate::control::{ControlClient, Verb};

/// Sends lines, and gives an answer to each.
async fn ask(dir: &TempDir, lines: &[&str]) -> Vec<String> {
    let stream = UnixStream::connect(dir.path().join("control.sock")).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut answers = Vec::new();
    for line in lines {
        stream.write_all(line.as_bytes()).await.unwrap();
        stream.write_all(b"\n").await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        answers.push(answer.trim_end().to_owned());
    }
    answers
}

#[tokio::test]
async fn an_entry_ends_once_and_only_if_there_is_one() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    journal.serve_control().unwrap();
    let positions = [append(&journal, "evt_1", &clock).await, append(&journal, "evt_2", &clock).await];
    let confirm = format!(r#"{{"verb":"confirm","positions":[{},{},77]}}"#, positions[0].0, positions[1].0);
    let answers = ask(&dir, &[&confirm, &confirm]).await;
    assert_eq!(answers, [r#"{"ended":2}"#, r#"{"ended":0}"#]);
    // Synced before it was answered.
    assert!(listed(dir.path()).iter().all(|(_, found)| found.confirmed));
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_one_is_served() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    journal.serve_control().unwrap();
    let position = append(&journal, "evt_1", &clock).await;
    let many = format!(r#"{{"verb":"discard","positions":[{}1]}}"#, "1,".repeat(10_000));
    let good = format!(r#"{{"verb":"discard","positions":[{}]}}"#, position.0);
    let lines =
        ["", "{}", r#"{"verb":"destroy","positions":[]}"#, r#"{"verb":"discard","positions":[-1]}"#, &many, &good];
    let answers = ask(&dir, &lines).await;
    let refused = r#"{"error":"not a request"}"#;
    assert_eq!(answers[..4], [refused; 4]);
    assert_eq!(answers[4..], [r#"{"error":"more than 10000 positions"}"#, r#"{"ended":1}"#]);
    assert_eq!(journal.stats().unconfirmed, 0);
}

#[tokio::test]
async fn a_line_without_an_end_takes_no_more_than_its_limit() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    journal.serve_control().unwrap();
    let stream = UnixStream::connect(dir.path().join("control.sock")).await.unwrap();
    let mut stream = BufReader::new(stream);
    stream.write_all(&vec![b'x'; 512 * 1024]).await.unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    assert_eq!(answer, "{\"error\":\"not a request\"}\n");
}

#[tokio::test]
async fn a_command_finds_the_relay_while_it_runs_and_takes_the_lock_when_it_has_stopped() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    journal.serve_control().unwrap();
    let positions = [append(&journal, "evt_1", &clock).await, append(&journal, "evt_2", &clock).await];
    let mut client = ControlClient::open(dir.path(), &clock).await.unwrap();
    assert!(matches!(client, ControlClient::Relay(_)));
    assert_eq!(client.end(Verb::Confirm, &positions[..1]).await.unwrap(), 1);
    journal.close().await;

    let mut client = ControlClient::open(dir.path(), &clock).await.unwrap();
    assert!(matches!(client, ControlClient::Own(_)));
    assert_eq!(client.end(Verb::Discard, &positions).await.unwrap(), 1);
    client.close().await;
    assert!(unconfirmed(&open(&dir, &clock)).is_empty());
}

#[tokio::test]
async fn a_command_waits_for_a_relay_that_is_just_starting() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let journal = open(&dir, &clock);
    let position = append(&journal, "evt_1", &clock).await;
    let path = dir.path().to_owned();
    let client = tokio::spawn(async move { ControlClient::open(&path, &clock).await });
    tokio::task::yield_now().await;
    journal.serve_control().unwrap();
    let ended = client.await.unwrap().unwrap().end(Verb::Confirm, &[position]).await;
    assert_eq!(ended.unwrap(), 1);
}
