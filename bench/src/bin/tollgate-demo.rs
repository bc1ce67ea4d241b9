//! `scripts/run --demo`: one customer's story through a relay and a backend of its own, told step by step.
//!
//! Ends well only when the customer has what it paid for: a paid tier, a licence, an API key and a widget.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use serde_json::Value;
use tollgate_tests::http::Response;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH, signature};
use tollgate_tests::stripe::catalogue::DEFAULT_TIER;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};
use tollgate_tests::{Engine, Stack, StackConfig};

#[tokio::main]
async fn main() -> ExitCode {
    // Dropping the story ends its processes and removes its folder, on Ctrl-C too.
    let told = tokio::select! {
        told = tell() => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the story did not end well: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<()> {
    println!("Starting a relay and a backend on free ports, with an empty SQLite database of their own.");
    let quiet = StackConfig::on(Engine::Sqlite).relay("RUST_LOG", "warn").backend("RUST_LOG", "warn");
    let stack = Stack::spawn(quiet).await;
    println!("  relay    {} (public: Stripe sends its webhooks here)", stack.public(WEBHOOK_PATH));
    println!("  backend  {} (private: only the relay and internal services reach it)", stack.private("/"));

    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada Lovelace", None);
    stripe.checkout(&customer, &Checkout::default().by("user_ada"));
    let events = stripe.events(ApiVersion::Endive);

    step(
        1,
        "A stranger sends an event with a signature of their own. The relay takes nothing that Stripe did not sign.",
    );
    let forged = send(&stack, &events[0].body, &signature("whsec_of_a_stranger", &events[0].body)).await;
    println!("  {}, {}", forged.status, forged.error_code());
    ensure!(forged.status == 400, "a forged event was not refused");

    step(2, "Ada goes through Stripe Checkout: she buys Pro, monthly, with her card. Stripe signs what happened.");
    for event in &events {
        deliver(&stack, event).await?;
    }
    stack.settled().await;
    println!("  All {} are in the relay's journal, synced to disk, and the backend has confirmed each.", events.len());

    step(3, "Stripe is not sure that we heard, and sends all of it again, the last first. Nothing may happen twice.");
    let before = shown(&stack, &customer).await?;
    for event in events.iter().rev() {
        let response = send(&stack, &event.body, &stack.signature(&event.body)).await;
        ensure!(response.status == 200, "a repeat of {} was answered {}", event.event_type, response.status);
    }
    stack.settled().await;
    let after = shown(&stack, &customer).await?;
    ensure!(before == after, "the repeats changed the customer");
    println!("  Each was answered 200, and the customer is as before.");

    step(4, "An internal service asks who may use what.");
    println!("  GET {}", stack.private(&format!("/v1/customers/{customer}")));
    println!("{}", serde_json::to_string_pretty(&after)?);
    ends_well(&after)?;
    println!();
    println!(
        "Ada is on the tier {}, with a licence, an API key and a widget, each once. That is Tollgate.",
        after["tier"]
    );
    Ok(())
}

fn step(number: u32, what: &str) {
    println!("\n{number}. {what}");
}

async fn send(stack: &Stack, body: &Bytes, signature: &str) -> Response {
    stack.http.post(&stack.public(WEBHOOK_PATH), &[("stripe-signature", signature), JSON], body.clone()).await
}

async fn deliver(stack: &Stack, event: &Event) -> Result<()> {
    let response = send(stack, &event.body, &stack.signature(&event.body)).await;
    println!("  {}  {:32} {}", response.status, event.event_type, event.id);
    if response.status != 200 {
        bail!("{} was answered {}: {}", event.event_type, response.status, response.error_code());
    }
    Ok(())
}

async fn shown(stack: &Stack, customer: &str) -> Result<Value> {
    match stack.customer(customer).await {
        Some(customer) => Ok(customer),
        None => bail!("the backend does not know {customer}"),
    }
}

fn ends_well(customer: &Value) -> Result<()> {
    let one = |list: &str| customer[list].as_array().is_some_and(|all| all.len() == 1);
    ensure!(customer["tier"].as_str().is_some_and(|tier| tier != DEFAULT_TIER), "the customer is on no paid tier");
    ensure!(
        one("licenses") && customer["licenses"][0]["status"] == "active",
        "the customer has not one active licence"
    );
    ensure!(one("apiKeys"), "the customer has not one API key");
    ensure!(one("widgets"), "the customer has not one widget");
    Ok(())
}
