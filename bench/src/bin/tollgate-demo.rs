//! `scripts/run --demo`: one customer's story through a relay and a backend of its own, against a stateful Stripe that needs
//! no account, told step by step: she buys a plan, changes it, cancels it.
//!
//! Ends well only when she has what she paid for at each step, and no longer.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tollgate_tests::http::Response;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::catalogue::DEFAULT_TIER;
use tollgate_tests::stripe::delivery::signature;
use tollgate_tests::stripe::rest::{Api, Endpoint, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, DAY, Stripe};
use tollgate_tests::{Engine, Stack, StackConfig};

/// Where the buyer comes from and goes back to: it is named, and not called.
const SHOP: &str = "https://app.example.com";
const USER: &str = "user_ada";

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

/// Ada, the stack that serves her, and Stripe.
struct Story {
    stack: Stack,
    api: Api,
    bearer: String,
    /// How many webhooks were shown.
    shown: usize,
}

async fn tell() -> Result<()> {
    println!("Starting a relay and a backend on free ports, with an empty SQLite database of their own,");
    println!("and a stateful Stripe beside them that needs no account (scripts/stripe starts it alone).");
    let api = Api::start(&Stripe::fresh()).await;
    api.keeps_time();
    let config = StackConfig::on(Engine::Sqlite)
        .relay("RUST_LOG", "warn")
        .backend("RUST_LOG", "warn")
        .backend("APP_URL", SHOP)
        .backend("STRIPE_SECRET_KEY", SECRET_KEY)
        .backend("STRIPE_API_BASE", &api.base);
    let stack = Stack::spawn(config).await;
    api.deliver_to(Endpoint::new(&stack.public(WEBHOOK_PATH), &stack.secrets.webhook));
    println!("  relay    {} (public: Stripe sends its webhooks here, users call here)", stack.public("/"));
    println!("  backend  {} (private: only the relay and internal services reach it)", stack.private("/"));
    println!("  Stripe   {}/", api.base);
    let bearer = stack.bearer(USER);
    let mut story = Story { stack, api, bearer, shown: 0 };
    story.a_stranger_forges().await?;
    let customer = story.ada_buys().await?;
    story.stripe_repeats(&customer).await?;
    story.ada_changes().await?;
    story.ada_cancels(&customer).await
}

impl Story {
    async fn a_stranger_forges(&self) -> Result<()> {
        step(
            1,
            "A stranger sends an event with a signature of their own. The relay takes nothing that Stripe did not sign.",
        );
        let body = r#"{"id": "evt_1", "type": "invoice.paid"}"#;
        let headers = [("stripe-signature", &*signature("whsec_of_a_stranger", body.as_bytes())), JSON];
        let forged = self.stack.http.post(&self.stack.public(WEBHOOK_PATH), &headers, body).await;
        println!("  {}, {}", forged.status, forged.error_code());
        ensure!(forged.status == 400, "a forged event was not refused");
        Ok(())
    }

    /// Gives Ada's customer at Stripe.
    async fn ada_buys(&mut self) -> Result<String> {
        step(2, "Ada, who is signed in at your application, asks for a checkout of Pro, monthly.");
        let session = self.asks("/api/stripe/checkout/create", &json!({ "planId": "pro_monthly" })).await?;
        let till = session["url"].as_str().context("the session has no page")?.to_owned();
        step(3, "On Stripe's page her first card is declined. The second one is not, and Stripe sends her back.");
        let declined = self.pays(&till, "4000 0000 0000 9995").await;
        let page = String::from_utf8_lossy(&declined.body).into_owned();
        ensure!(page.contains("insufficient funds"), "a card without money was not declined");
        println!("  4000 0000 0000 9995: Your card has insufficient funds.");
        let paid = self.pays(&till, "4242 4242 4242 4242").await;
        let back = paid.header("location").context("she was not sent back")?.to_owned();
        println!("  4242 4242 4242 4242: {} {back}", paid.status);
        ensure!(back.starts_with(SHOP), "she was sent somewhere else");
        self.show_webhooks();
        step(4, "The first thing that your success page asks is what she has. The webhooks were there before her.");
        let current = self.sees("/api/subscriptions/current").await?;
        ensure!(current["tier"] == "pro", "she paid for Pro and is on {}", current["tier"]);
        println!("  tier {}, plan {}, licence {}", current["tier"], current["plan"]["id"], current["license"]["key"]);
        let customer = self.api.change(|stripe| stripe.customers.keys().next().cloned());
        customer.context("Stripe has no customer")
    }

    async fn stripe_repeats(&self, customer: &str) -> Result<()> {
        step(
            5,
            "Stripe is not sure that we heard, and sends all of it again, the last first. Nothing may happen twice.",
        );
        let before = self.shown_inside(customer).await?;
        let mut events = self.api.change(|stripe| stripe.events(ApiVersion::Endive));
        events.reverse();
        self.stack.deliver_all(&events, 1).await;
        self.stack.settled().await;
        ensure!(self.shown_inside(customer).await? == before, "the repeats changed the customer");
        println!("  Each of {} was answered 200, and the customer is as before.", events.len());
        Ok(())
    }

    async fn ada_changes(&mut self) -> Result<()> {
        step(6, "Her team grows. She asks what Team, monthly, would cost, and takes it.");
        let team = json!({ "planId": "team_monthly" });
        let preview = self.asks("/api/subscriptions/preview-change", &team).await?;
        println!("  now {}, at renewal {} (minor units)", preview["amountDueNow"], preview["amountAtRenewal"]);
        let change = json!({ "planId": "team_monthly", "prorationDate": preview["prorationDate"] });
        let changed = self.asks("/api/subscriptions/change-plan", &change).await?;
        ensure!(changed["subscription"]["planId"] == "team_monthly", "the plan was not changed");
        let paid = self.api.change(|stripe| stripe.invoices.values().map(|invoice| invoice.amount_paid).sum::<i64>());
        ensure!(
            preview["amountDueNow"] == paid - 2900,
            "the preview said {}, {} was paid",
            preview["amountDueNow"],
            paid - 2900
        );
        self.show_webhooks_when_there().await;
        let current = self.sees("/api/subscriptions/current").await?;
        ensure!(current["tier"] == "team", "she paid for Team and is on {}", current["tier"]);
        println!("  tier {}, {} machines", current["tier"], current["license"]["maxActivations"]);
        Ok(())
    }

    async fn ada_cancels(&mut self, customer: &str) -> Result<()> {
        step(7, "She cancels. What she has paid for is hers until its end.");
        let canceled = self.asks("/api/subscriptions/cancel", &json!({ "reason": "the project is over" })).await?;
        ensure!(canceled["subscription"]["cancelScheduled"] == true, "no end was announced");
        println!("  ends at {}", canceled["subscription"]["cancelAt"]);
        let current = self.sees("/api/subscriptions/current").await?;
        ensure!(current["tier"] == "team", "it was taken from her at once");
        step(8, "The end comes, Stripe says so, and an internal service asks who may use what.");
        self.api.change(|stripe| stripe.advance(31 * DAY).now);
        self.show_webhooks_when_there().await;
        println!("  GET {}", self.stack.private(&format!("/v1/customers/{customer}")));
        let after = self.shown_inside(customer).await?;
        println!("{}", serde_json::to_string_pretty(&after)?);
        ensure!(after["tier"] == DEFAULT_TIER, "what has ended still gives {}", after["tier"]);
        for list in ["licenses", "apiKeys", "widgets"] {
            let once = after[list].as_array().is_some_and(|all| all.len() == 1);
            ensure!(once, "of {list} there is not one");
        }
        println!();
        println!(
            "Ada has bought, changed and canceled, each once, and is on the tier {} again. That is Tollgate.",
            after["tier"]
        );
        Ok(())
    }

    /// A POST of Ada's.
    async fn asks(&self, path: &str, body: &Value) -> Result<Value> {
        let headers = [("authorization", &*self.bearer), JSON];
        let answer = self.stack.http.post(&self.stack.public(path), &headers, body.to_string()).await;
        println!("  POST {path} {body}: {}", answer.status);
        answered(path, &answer)
    }

    async fn sees(&self, path: &str) -> Result<Value> {
        let answer = self.stack.http.get(&self.stack.public(path), &[("authorization", &*self.bearer)]).await;
        println!("  GET {path}: {}", answer.status);
        answered(path, &answer)
    }

    async fn pays(&self, till: &str, card: &str) -> Response {
        let form = format!("email=ada%40example.com&name=Ada+Lovelace&card={}", card.replace(' ', "+"));
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.stack.http.post(till, &headers, form).await
    }

    async fn shown_inside(&self, customer: &str) -> Result<Value> {
        self.stack.customer(customer).await.with_context(|| format!("the backend does not know {customer}"))
    }

    fn show_webhooks(&mut self) {
        let events = self.api.change(|stripe| stripe.events_since(self.shown, ApiVersion::Endive));
        self.shown = self.api.change(|stripe| stripe.occurrences.len());
        for event in events {
            println!("  webhook  {:32} {}", event.event_type, event.id);
        }
    }

    async fn show_webhooks_when_there(&mut self) {
        self.api.delivered().await;
        self.stack.settled().await;
        self.show_webhooks();
    }
}

fn step(number: u32, what: &str) {
    println!("\n{number}. {what}");
}

fn answered(path: &str, answer: &Response) -> Result<Value> {
    if !(200..300).contains(&answer.status) {
        bail!("{path} was answered {}: {}", answer.status, answer.error_code());
    }
    Ok(answer.json())
}
