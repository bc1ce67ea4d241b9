//! `scripts/stripe`: a stateful Stripe for anybody to develop against, on a loopback address.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_tests::stripe::Stripe;
use tollgate_tests::stripe::rest::{Api, Endpoint, SECRET_KEY};
use tollgate_tests::stripe::shape::ApiVersion;

/// A Stripe that keeps its state in memory: customers, prices, checkout and portal with their pages, subscriptions with
/// trials, proration and retried payments, invoices, events, signed webhooks. No money moves, and no account is needed.
///
/// It sells the plans of a plans.toml, refuses what Stripe refuses, and goes with the machine's clock until the page at
/// its address lets time pass. The webhooks' secret is read from STRIPE_WEBHOOK_SECRET, or made and printed.
#[derive(Debug, Parser)]
#[command(name = "scripts/stripe", bin_name = "scripts/stripe")]
struct Arguments {
    /// Where to listen: an address of this machine alone
    #[arg(long, default_value = "127.0.0.1:12111")]
    addr: SocketAddr,
    /// Where webhooks go; `none` for nowhere
    #[arg(long, default_value = "http://127.0.0.1:3000/api/webhooks/stripe")]
    webhook_url: String,
    /// The API version of the webhooks
    #[arg(long, default_value = "2026-10-28.endive", value_parser = version)]
    webhook_version: ApiVersion,
    /// What is sold
    #[arg(long, default_value = "plans.toml")]
    plans: PathBuf,
}

fn version(name: &str) -> Result<ApiVersion, String> {
    ApiVersion::of_date(name).ok_or_else(|| "a date, with a name after 2024: 2026-10-28.endive".to_owned())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.addr.ip().is_loopback(), "--addr has to be an address of this machine: everybody has the key");
    ensure!(
        arguments.webhook_url == "none" || arguments.webhook_url.starts_with("http://"),
        "--webhook-url has to begin with http:// (this Stripe speaks no TLS), or to be `none`"
    );
    let mut stripe = Stripe::fresh();
    let plans =
        fs::read_to_string(&arguments.plans).with_context(|| format!("cannot read {}", arguments.plans.display()))?;
    stripe.sell_plans(&plans).map_err(|why| anyhow::anyhow!("{}: {why}", arguments.plans.display()))?;

    let api =
        Api::start_at(&stripe, arguments.addr).await.with_context(|| format!("cannot listen on {}", arguments.addr))?;
    api.keeps_time();
    let mut output = std::io::stdout().lock();
    writeln!(output, "A Stripe to test against is ready. Set these where Tollgate runs (or in .env):")?;
    writeln!(output, "  STRIPE_API_BASE={}", api.base)?;
    writeln!(output, "  STRIPE_SECRET_KEY={SECRET_KEY}")?;
    if arguments.webhook_url != "none" {
        let secret = match std::env::var("STRIPE_WEBHOOK_SECRET") {
            Ok(secrets) if !secrets.trim().is_empty() => {
                // Several are accepted where they are checked; the first is signed with.
                secrets.split(',').next().unwrap_or_default().trim().to_owned()
            }
            _ => {
                let secret = api.change(|stripe| stripe.new_secret());
                writeln!(output, "  STRIPE_WEBHOOK_SECRET={secret}")?;
                secret
            }
        };
        api.deliver_to(Endpoint {
            version: arguments.webhook_version,
            ..Endpoint::new(&arguments.webhook_url, &secret)
        });
        writeln!(output, "Webhooks go to {}.", arguments.webhook_url)?;
    }
    writeln!(output, "What is in it, and buttons that let time pass: {}/", api.base)?;
    writeln!(output, "Ctrl-C stops it, and forgets all.")?;
    drop(output);

    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
