//! What operators do with releases.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::BytesMut;
use rocket::http::Status;
use rocket::response::status::{Custom, NoContent};
use rocket::serde::json::Json;
use rocket::{State, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};
use tokio::task::spawn_blocking;
use tollgate_db::UnitOfWork;
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::releases::life::{self, ReleaseError};
use tollgate_domain::releases::view::ReleaseView;
use tollgate_domain::releases::{self, Release, ReleaseFile, Wanted};
use tracing::info;

use super::request::{BODY_BYTES_MAX, Create, percent};
use super::shelf::{Shelf, Unfinished};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::body::{JsonBody, OptionalJsonBody, StreamedBody};
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::reason::{MaybeReason, Reason, maybe_readable};

/// How much of a body is written at once.
const PIECE_BYTES: usize = 256 << 10;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let unknown = || ApiError::from(ReleaseError::Unknown);
    let withdrawn = || ApiError::from(ReleaseError::Withdrawn);
    let file_exists = || ApiError::from(ReleaseError::FileExists);
    vec![
        endpoint!(list, "Releases, the newest first"),
        endpoint!(show, "One release").refuses([unknown()]),
        endpoint!(create, "Makes a draft of a release; the very same one again is 200")
            .answers(&[Status::Created, Status::Ok])
            .refuses([ReleaseError::VersionExists.into(), file_exists()]),
        endpoint!(store, "Stores a file of a release, which is then the same for good; again the same").refuses([
            unknown(),
            file_exists(),
            mismatch(),
            ApiError::of_status(Status::PayloadTooLarge),
        ]),
        endpoint!(publish, "Offers a release, once all of its files are there; again the same").refuses([
            unknown(),
            withdrawn(),
            file_exists(),
            ReleaseError::FilesMissing(vec!["…".to_owned()]).into(),
        ]),
        endpoint!(rollout, "Offers a release to so many per cent of all installations")
            .refuses([unknown(), withdrawn()]),
        endpoint!(withdraw, "Offers a release to nobody any more; again the same").refuses([unknown()]),
    ]
}

#[get("/api/admin/releases")]
async fn list(_operator: Operator, page: Paged, app: &State<App>) -> Result<Json<List<ReleaseView>>, ApiError> {
    let mut tx = app.read_list().await?;
    let rows = releases::list(&mut tx, &page).await?;
    let mut files = releases::files_of(&mut tx, &rows.data.iter().map(|row| row.id.clone()).collect()).await?;
    let stored = releases::stored(&mut tx, &files.values().flatten().map(|file| file.name.clone()).collect()).await?;
    Ok(Json(rows.map(|row| {
        let files = files.remove(&row.id).unwrap_or_default();
        ReleaseView::of(row, files, &stored)
    })))
}

#[get("/api/admin/releases/<id>")]
async fn show(
    _operator: Operator,
    id: &str,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<Json<ReleaseView>, ApiError> {
    shown(app, shelf, id).await
}

/// A release, and which of its files are there: one that was lost or changed on disk has to be sent once more.
async fn shown(app: &App, shelf: &Shelf, id: &str) -> Result<Json<ReleaseView>, ApiError> {
    let mut tx = app.read().await?;
    let (release, files) = releases::find(&mut tx, id).await?.ok_or(ReleaseError::Unknown)?;
    let stored = releases::stored(&mut tx, &files.iter().map(|file| file.name.clone()).collect()).await?;
    drop(tx);
    let mut there = BTreeMap::new();
    for (name, file) in stored {
        if shelf.open(&file).await.is_ok() {
            there.insert(name, file);
        }
    }
    Ok(Json(ReleaseView::of(release, files, &there)))
}

#[post("/api/admin/releases", data = "<body>")]
async fn create(
    operator: Operator,
    body: JsonBody<Create, { BODY_BYTES_MAX }>,
    context: &RequestContext,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<Custom<Json<ReleaseView>>, ApiError> {
    let new = body.0.readable(app.config.release_file_bytes_max)?;
    let by = operator.acting(context, None);
    let touched = Touched::releases(Wanted {
        channel: Some(new.channel.clone()),
        claims: Some(life::claims_of(&new.channel, &new.sort_key)),
        names: new.files.iter().map(|file| file.name.clone()).collect(),
        ..Wanted::default()
    });
    let created = app.write(&touched, |work| {
        let (release, _, is_new) = life::create(work, &by, &new)?;
        Ok::<_, ReleaseError>((release.id, is_new))
    });
    let ((id, is_new), _) = created.await?;
    if is_new {
        info!(request_id = %context.request_id, "made release {id}");
    }
    Ok(Custom(if is_new { Status::Created } else { Status::Ok }, shown(app, shelf, &id).await?))
}

#[put("/api/admin/releases/<id>/files/<name>", data = "<body>")]
async fn store(
    operator: Operator,
    id: &str,
    name: &str,
    mut body: StreamedBody<'_>,
    context: &RequestContext,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<NoContent, ApiError> {
    let found = releases::find(&mut app.read().await?, id).await?;
    let file = found.and_then(|(_, files)| files.into_iter().find(|file| file.name == name));
    let file = file.ok_or(ReleaseError::Unknown)?;
    let unfinished = receive(app, shelf, &file, &mut body).await?;
    let by = operator.acting(context, None);
    let touched = Touched::releases(Wanted { names: BTreeSet::from([name.to_owned()]), ..Wanted::default() });
    let stored = app.write(&touched, |work| {
        life::store(work, &by, &file)?;
        // While its row is held: nobody removes it who had found that it is nobody's.
        unfinished.keep(&file.name, &file.sha512).map_err(not_stored)
    });
    stored.await?;
    info!(request_id = %context.request_id, "stored file {name} of release {id}");
    Ok(NoContent)
}

/// 500: the file system failed.
fn not_stored(error: io::Error) -> ApiError {
    ApiError::internal_because("release_file", format!("could not store a file: {error}"))
}

/// Writes a file as it comes, beside its place, if it is the one that was announced.
async fn receive(
    app: &App,
    shelf: &Shelf,
    file: &ReleaseFile,
    body: &mut StreamedBody<'_>,
) -> Result<Unfinished, ApiError> {
    let bytes_max = app.config.release_file_bytes_max;
    if body.announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(ApiError::body_too_large(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
    }
    let unfinished = shelf.begin(&app.rng).map_err(not_stored)?;
    let (mut hash, mut size) = (Sha512::new(), 0_u64);
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let mut has_ended = false;
        while !has_ended && piece.len() < piece.capacity() {
            has_ended = body.read(&mut piece).await? == 0;
        }
        size += piece.len() as u64;
        if size > file.size as u64 {
            return Err(mismatch());
        }
        let mut to = unfinished.file().map_err(not_stored)?;
        let written = spawn_blocking(move || {
            hash.update(&piece);
            to.write_all(&piece).map(|()| hash)
        });
        hash = written.await.expect("writing does not panic").map_err(not_stored)?;
        if has_ended {
            break;
        }
    }
    if size != file.size as u64 || BASE64_STANDARD.encode(hash.finalize()) != file.sha512 {
        return Err(mismatch());
    }
    unfinished.finish().await.map_err(not_stored)?;
    Ok(unfinished)
}

/// 422: it is another file than the one that was announced.
fn mismatch() -> ApiError {
    let message = "the bytes are not those of which `size` and `sha512` were announced; nothing of them is kept";
    ApiError::new(Status::UnprocessableEntity, "checksum_mismatch", message)
}

#[post("/api/admin/releases/<id>/publish", data = "<body>")]
async fn publish(
    operator: Operator,
    id: &str,
    body: OptionalJsonBody<MaybeReason>,
    context: &RequestContext,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<Json<ReleaseView>, ApiError> {
    let by = operator.acting(context, body.0.readable()?);
    act(app, id, |work| life::publish(work, &by, id)).await?;
    info!(request_id = %context.request_id, "published release {id}");
    shown(app, shelf, id).await
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReleaseRollout")]
struct Rollout {
    percent: i64,
    /// Why, for the audit trail.
    reason: Option<String>,
}

#[post("/api/admin/releases/<id>/rollout", data = "<body>")]
async fn rollout(
    operator: Operator,
    id: &str,
    body: JsonBody<Rollout>,
    context: &RequestContext,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<Json<ReleaseView>, ApiError> {
    let percent = percent("percent", body.0.percent)?;
    let by = operator.acting(context, maybe_readable(body.0.reason)?);
    act(app, id, |work| life::roll_out(work, &by, id, percent)).await?;
    shown(app, shelf, id).await
}

#[post("/api/admin/releases/<id>/withdraw", data = "<body>")]
async fn withdraw(
    operator: Operator,
    id: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<Json<ReleaseView>, ApiError> {
    let by = operator.acting(context, Some(body.0.readable()?));
    act(app, id, |work| life::withdraw(work, &by, id)).await?;
    info!(request_id = %context.request_id, "withdrew release {id}");
    shown(app, shelf, id).await
}

/// Lets `rule` change a release.
async fn act(
    app: &App,
    id: &str,
    mut rule: impl FnMut(&mut UnitOfWork) -> Result<Release, ReleaseError> + Send,
) -> Result<(), ApiError> {
    let (release, _) = releases::find(&mut app.read().await?, id).await?.ok_or(ReleaseError::Unknown)?;
    let wanted = Wanted { channel: Some(release.channel), release: Some(release.id), ..Wanted::default() };
    let touched = Touched::releases(wanted);
    app.write(&touched, |work| rule(work).map(drop)).await?;
    Ok(())
}

impl From<ReleaseError> for ApiError {
    fn from(error: ReleaseError) -> Self {
        let conflict = |code, message: &'static str| Self::new(Status::Conflict, code, message);
        match error {
            ReleaseError::Unknown => Self::not_found("such release"),
            ReleaseError::VersionExists => conflict(
                "version_exists",
                "the channel has that version with other files or on other terms; a version is never another one: take a higher one",
            ),
            ReleaseError::FileExists => conflict(
                "file_exists",
                "there is a file of that name with other bytes; a name never has others: put the version into it",
            ),
            ReleaseError::Withdrawn => conflict("withdrawn", "the release was withdrawn; take a higher version"),
            ReleaseError::FilesMissing(names) => {
                let names = names.join("`, `");
                let message = format!("send these files first: `{names}`");
                Self::new(Status::Conflict, "files_missing", message)
            }
        }
    }
}
