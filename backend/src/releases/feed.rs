//! What installed apps and a page of downloads ask for: the newest release that is theirs.

use rocket::http::Status;
use rocket::request::{self, FromRequest};
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{Request, State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_domain::releases::cohort::{self, StagingId};
use tollgate_domain::releases::feed::{self, FeedName};
use tollgate_domain::releases::version::is_channel;
use tollgate_domain::releases::{self, Arch, Platform, Release, ReleaseFile};
use tollgate_shared::clock::rfc3339;

use super::access::{Access, Asking};
use super::no_release;
use crate::app::App;
use crate::http::auth::Authenticator;
use crate::http::endpoint::{Answers, Argument, Endpoint, Operation, Parameter, endpoint, query, schema_of};
use crate::http::error::ApiError;
use crate::http::query::Query;

/// The header in which electron-updater says which installation it is.
const STAGING_ID: &str = "x-user-staging-id";
const STAGING_ID_CHARACTERS: usize = 36;

/// How often the next releases are looked at where those before are nobody's.
const LOOKS_MAX: usize = 50;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(latest, "The newest release that is rolled out to all, with where its files are")
            .takes([
                query("channel", "The channel, by default `latest`."),
                query("platform", "Only what runs on this system.").one_of(&["win", "mac", "linux"]),
                query("arch", "Only what runs on this processor.").one_of(&["x64", "arm64", "universal"]),
            ])
            .refuses([no_release()]),
        endpoint!(yaml, "The feed of electron-updater's generic provider: `{channel}.yml`, `-mac.yml`, `-linux.yml`, `-linux-arm64.yml`")
            .refuses([no_release()]),
    ]
}

/// Which installation asks, if it says so.
struct Installation(Option<StagingId>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Installation {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        request::Outcome::Success(Self(request.headers().get_one(STAGING_ID).and_then(StagingId::parse)))
    }
}

impl Argument for Installation {
    fn describe(operation: &mut Operation) {
        let id = "The installation's own id, a UUID: whom a release is rolled out to is then judged here.";
        operation.parameters.push(Parameter::header(STAGING_ID, 1..=STAGING_ID_CHARACTERS, id));
    }
}

/// A feed: YAML.
struct Yaml(String);

impl<'r> Responder<'r, 'static> for Yaml {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build()
            .raw_header("Content-Type", "application/yaml")
            // What is rolled out or withdrawn is seen at once; it is another one for each installation.
            .raw_header("Cache-Control", "no-store")
            .raw_header("X-Content-Type-Options", "nosniff")
            .sized_body(self.0.len(), std::io::Cursor::new(self.0))
            .ok()
    }
}

impl Answers for Yaml {
    fn describe(operation: &mut Operation) {
        operation.succeed(Status::Ok, "application/yaml", schema_of::<String>);
    }
}

#[get("/api/releases/<feed>")]
async fn yaml(asking: Asking<'_>, feed: &str, installation: Installation, app: &State<App>) -> Result<Yaml, ApiError> {
    let name = FeedName::parse(feed).ok_or_else(no_release)?;
    let mut tx = app.read().await?;
    let access = asking.access(&mut tx).await?;
    let offers = |file: &ReleaseFile| name.offers(file);
    let is_enough = |release: &Release| release.rollout_percent >= 100;
    let found = newest(app, &mut tx, &access, &name.channel, offers, is_enough).await?;
    let offer = cohort::offer(found.iter().map(|(release, _)| release), installation.0).ok_or_else(no_release)?;
    let (_, files) = found.iter().find(|(release, _)| release.id == offer.release.id).ok_or_else(no_release)?;
    feed::write(offer, &files.iter().collect::<Vec<_>>()).map(Yaml).ok_or_else(no_release)
}

/// The newest release of a channel that whoever asks gets, with the files of it that are `wanted`, and those after it up to the
/// first that `is_enough`.
async fn newest(
    app: &App,
    tx: &mut Tx,
    access: &Access,
    channel: &str,
    wanted: impl Fn(&ReleaseFile) -> bool,
    is_enough: impl Fn(&Release) -> bool,
) -> Result<Vec<(Release, Vec<ReleaseFile>)>, DbError> {
    let (mut found, mut before) = (Vec::new(), None::<String>);
    for _ in 0..LOOKS_MAX {
        let looked_at = releases::published(tx, channel, before.as_deref()).await?;
        let Some(last) = looked_at.last() else { break };
        before = Some(last.sort_key.clone());
        let ids = looked_at.iter().map(|release| release.id.clone()).collect();
        let mut files = releases::files_of(tx, &ids).await?;
        for release in looked_at {
            let mut files = files.remove(&release.id).unwrap_or_default();
            files.retain(&wanted);
            if files.is_empty() || !access.includes(app, &release) {
                continue;
            }
            let is_last = is_enough(&release);
            found.push((release, files));
            if is_last {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// A release for who wants to download it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LatestRelease")]
struct LatestView {
    version: String,
    channel: String,
    name: Option<String>,
    notes: Option<String>,
    published_at: Option<String>,
    downloads: Vec<DownloadView>,
}

/// A file of a release, and where that is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Download")]
struct DownloadView {
    platform: String,
    arch: String,
    filename: String,
    size: i64,
    sha512: String,
    url: String,
}

#[get("/api/releases/latest")]
async fn latest(
    asking: Asking<'_>,
    query: Query,
    installation: Installation,
    authenticator: &State<Authenticator>,
    app: &State<App>,
) -> Result<Json<LatestView>, ApiError> {
    let channel = query.read("channel", "the name of a channel", |name| is_channel(name).then(|| name.to_owned()))?;
    let platform = query.read("platform", "`win`, `mac` or `linux`", Platform::named)?;
    let arch = query.read("arch", "`x64`, `arm64` or `universal`", Arch::named)?;
    let channel = channel.unwrap_or_else(|| "latest".to_owned());
    let mut tx = app.read().await?;
    let access = asking.access(&mut tx).await?;
    let wanted = |file: &ReleaseFile| {
        let runs = platform.map_or_else(|| runs_on(file, arch), |platform| file.is_for(platform, arch));
        runs && !file.is_block_map()
    };
    let is_enough = |release: &Release| release.rollout_percent >= 100;
    let found = newest(app, &mut tx, &access, &channel, wanted, is_enough).await?;
    let rows = found.iter().map(|(release, _)| release);
    // Whoever only looks at a page is no installation, and gets what is everybody's.
    let offer = match installation.0 {
        Some(_) => cohort::offer(rows, installation.0),
        None => cohort::everybodys(rows),
    };
    let id = offer.ok_or_else(no_release)?.release.id.clone();
    let (release, files) = found.into_iter().find(|(release, _)| release.id == id).ok_or_else(no_release)?;
    let token = access.token(app, authenticator, &release);
    let downloads = files.into_iter().map(|file| DownloadView {
        url: url_of(app, &file.name, token.as_deref()),
        platform: file.platform,
        arch: file.arch,
        filename: file.name,
        size: file.size,
        sha512: file.sha512,
    });
    Ok(Json(LatestView {
        downloads: downloads.collect(),
        version: release.version,
        channel: release.channel,
        name: release.name,
        notes: release.notes,
        published_at: release.published_at.map(rfc3339),
    }))
}

fn runs_on(file: &ReleaseFile, arch: Option<Arch>) -> bool {
    Platform::ALL.into_iter().any(|platform| file.is_for(platform, arch))
}

/// Where a file is: at `PUBLIC_URL`, else from wherever whoever asks has asked.
fn url_of(app: &App, name: &str, token: Option<&str>) -> String {
    let path = format!("/api/releases/files/{}", name.replace(' ', "%20"));
    let path = match token {
        Some(token) => format!("{path}?token={token}"),
        None => path,
    };
    let public = app.config.public_url.as_ref();
    public.and_then(|url| url.join(&path).ok()).map_or(path, |url| url.to_string())
}
