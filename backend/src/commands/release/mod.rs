//! `tollgate-backend release`: what operators do with releases, over the backend's routes. It needs `ADMIN_API_KEY` and no
//! other variable, so that a build server can publish.

mod api;
mod package;
mod yaml;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Url;
use serde_json::{Value, json};
use tollgate_shared::env::Env;

use self::api::Api;
use self::package::Package;

/// Where a backend listens where nothing else is said.
const DEFAULT_ADDR: &str = "127.0.0.1:8000";

#[derive(Debug, Args)]
pub(super) struct ReleaseArguments {
    /// The backend's private address [default: http://BACKEND_ADDR]
    #[arg(long, value_name = "URL", global = true)]
    backend: Option<Url>,

    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Debug, Subcommand)]
enum ReleaseCommand {
    /// Publishes what electron-builder has built. It may be called again: what has come before is not sent again
    Publish(PublishArguments),
    /// Lists releases, the newest first
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Offers a release to so many per cent of all installations
    Rollout {
        /// `rel_…`, or a version
        release: String,
        percent: u8,
        #[command(flatten)]
        of: Channel,
    },
    /// Offers a release to nobody any more
    Withdraw {
        /// `rel_…`, or a version
        release: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        of: Channel,
    },
}

#[derive(Debug, Args)]
struct Channel {
    /// The channel of the version
    #[arg(long, default_value = "latest")]
    channel: String,
}

#[derive(Debug, Args)]
struct PublishArguments {
    /// The folder in which electron-builder has left `latest.yml` and what it names
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    of: Channel,
    /// To how many per cent of all installations it is offered
    #[arg(long, default_value_t = 100)]
    rollout: u8,
    /// What of a plan's features a licence needs to get it
    #[arg(long, value_name = "FEATURE")]
    feature: Option<String>,
    /// Of which tiers a licence has to be; may be said several times
    #[arg(long = "tier", value_name = "TIER")]
    tiers: Vec<String>,
    /// What people call it [default: as electron-builder says]
    #[arg(long)]
    name: Option<String>,
    /// What is new [default: as electron-builder says]
    #[arg(long)]
    notes: Option<String>,
}

pub(super) fn run(env: &Env, arguments: ReleaseArguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(act(env, arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn act(env: &Env, arguments: ReleaseArguments) -> anyhow::Result<()> {
    let key = env.secret("ADMIN_API_KEY").context("set ADMIN_API_KEY, which the backend has too")?;
    let backend = match arguments.backend {
        Some(url) => url,
        None => format!("http://{}", env.text_or("BACKEND_ADDR", DEFAULT_ADDR)).parse().context("set --backend")?,
    };
    let api = Api::at(backend, key)?;
    match arguments.command {
        ReleaseCommand::Publish(arguments) => publish(&api, arguments).await,
        ReleaseCommand::List { json } => list(&api, json).await,
        ReleaseCommand::Rollout { release, percent, of } => {
            let id = find(&api, &release, &of).await?;
            say(&api.post(&["releases", &id, "rollout"], Some(json!({ "percent": percent }))).await?)
        }
        ReleaseCommand::Withdraw { release, reason, of } => {
            let id = find(&api, &release, &of).await?;
            say(&api.post(&["releases", &id, "withdraw"], Some(json!({ "reason": reason }))).await?)
        }
    }
}

async fn publish(api: &Api, arguments: PublishArguments) -> anyhow::Result<()> {
    let PublishArguments { folder, of, rollout, feature, tiers, name, notes } = arguments;
    let bar = bar();
    let package = Package::read(&folder, &of.channel, &bar)?;
    let files: Vec<_> = package.files.iter().map(package::PackedFile::announced).collect();
    let body = json!({
        "version": package.version, "channel": of.channel, "name": name.or(package.name), "notes": notes.or(package.notes),
        "rolloutPercent": rollout, "feature": feature, "tiers": tiers, "files": files,
    });
    let release = api.post(&["releases"], Some(body)).await?;
    let id = text(&release, "id")?;
    let stored = list_in(&release, "files").filter(|file| file["stored"] == true);
    let stored: BTreeSet<_> = stored.filter_map(|file| file["name"].as_str()).collect();
    let missing: Vec<_> = package.files.iter().filter(|file| !stored.contains(&*file.name)).collect();
    bar.set_length(missing.iter().map(|file| file.size).sum());
    bar.set_position(0);
    for file in missing {
        bar.set_message(file.name.clone());
        api.put_file(&["releases", &id, "files", &file.name], file, &bar).await?;
    }
    bar.finish_and_clear();
    say(&api.post(&["releases", &id, "publish"], None).await?)
}

async fn list(api: &Api, as_json: bool) -> anyhow::Result<()> {
    let mut cursor = None;
    loop {
        let page = api.list(&["releases"], cursor.as_deref()).await?;
        for release in list_in(&page, "data") {
            if as_json {
                writeln!(io::stdout(), "{release}")?;
            } else {
                say(release)?;
            }
        }
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// The id of a release that is named by that, or by its version.
async fn find(api: &Api, release: &str, of: &Channel) -> anyhow::Result<String> {
    if release.starts_with("rel_") {
        return Ok(release.to_owned());
    }
    let mut cursor = None;
    loop {
        let page = api.list(&["releases"], cursor.as_deref()).await?;
        let is_it = |row: &&Value| row["version"] == *release && row["channel"] == *of.channel;
        if let Some(row) = list_in(&page, "data").find(is_it) {
            return text(row, "id");
        }
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            bail!("there is no release {release} in the channel {}", of.channel);
        }
    }
}

/// A line of a release.
fn say(release: &Value) -> anyhow::Result<()> {
    let text = |name: &str| release[name].as_str().unwrap_or_default();
    let percent = &release["rolloutPercent"];
    let files = list_in(release, "files").count();
    writeln!(
        io::stdout(),
        "{} {} {} {} {percent}% {files} files",
        text("id"),
        text("channel"),
        text("version"),
        text("status")
    )?;
    Ok(())
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value[name].as_str().map(str::to_owned).context("the backend gave another answer than this version of it knows")
}

fn list_in<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

/// A bar on a terminal, and nothing where standard error is none.
fn bar() -> ProgressBar {
    let bar = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(bar).expect("the template names fields that there are");
    ProgressBar::new(0).with_style(style)
}
