//! `GET /api/releases/files/{name}`: a file of a release, whole or in ranges.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use rocket::http::Status;
use rocket::request::{self, FromRequest};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get};
use tokio_util::io::StreamReader;
use tollgate_domain::releases::ranges::{self, Piece, Wanted};
use tollgate_domain::releases::{self, StoredFile};

use super::access::{Asking, not_entitled};
use super::shelf::{Shelf, ShelfError, Shelved};
use crate::app::App;
use crate::http::endpoint::{Answers, Argument, Endpoint, Operation, Parameter, endpoint, schema_of_file};
use crate::http::error::ApiError;

/// How much of a header of ranges is looked at: a thousand of them.
const RANGE_CHARACTERS_MAX: usize = 48 << 10;

/// How many letters of a digest a file is known by.
const ETAG_CHARACTERS: usize = 43;

/// What a browser is told that a file is: nothing that it would open by itself.
const MEDIA_TYPE: &str = "application/octet-stream";

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![endpoint!(file, "A file of a release, whole or in ranges").refuses([no_file()])]
}

/// What a request says of which bytes it wants.
struct Conditions<'r> {
    range: Option<&'r str>,
    if_range: Option<&'r str>,
    if_none_match: Option<&'r str>,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Conditions<'r> {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        let one = |name: &str| request.headers().get_one(name);
        let range = one("range").filter(|range| range.len() <= RANGE_CHARACTERS_MAX);
        request::Outcome::Success(Self { range, if_range: one("if-range"), if_none_match: one("if-none-match") })
    }
}

impl Argument for Conditions<'_> {
    fn describe(operation: &mut Operation) {
        let range = "`bytes=…`, one range or many, which are answered in one `multipart/byteranges`.";
        let if_range = "The `ETag` of which the ranges are wanted; of another file all is sent.";
        operation.parameters.push(Parameter::header("Range", 1..=RANGE_CHARACTERS_MAX, range));
        operation.parameters.push(Parameter::header("If-Range", 1..=ETAG_CHARACTERS + 2, if_range));
    }
}

impl Argument for &State<Shelf> {
    fn describe(_: &mut Operation) {}
}

#[get("/api/releases/files/<name>")]
async fn file(
    asking: Asking<'_>,
    name: &str,
    conditions: Conditions<'_>,
    shelf: &State<Shelf>,
    app: &State<App>,
) -> Result<FileResponse, ApiError> {
    let mut tx = app.read().await?;
    let access = asking.access(&mut tx).await?;
    let now = app.clock.now();
    let mut of = releases::of_file(&mut tx, name).await?;
    of.retain(|(release, _)| release.is_served(now));
    if of.is_empty() {
        return Err(no_file());
    }
    let (release, file) = of.into_iter().find(|(release, _)| access.includes(app, release)).ok_or_else(not_entitled)?;
    let stored = releases::stored(&mut tx, &BTreeSet::from([name.to_owned()])).await?;
    let stored = stored.into_values().next().ok_or_else(no_file)?;
    drop(tx);
    let shelved = shelf.open(&stored).await.map_err(|failure| cannot_be_had(name, &failure))?;
    if !file.is_block_map() {
        let labels = [("version", release.version), ("platform", file.platform)];
        metrics::counter!("tollgate_backend_release_downloads_total", &labels).increment(1);
    }
    Ok(FileResponse::of(&conditions, &stored, shelved, access.is_public()))
}

/// 500: the file is not there as it was published. It is not for its client to do anything about.
fn cannot_be_had(name: &str, failure: &ShelfError) -> ApiError {
    metrics::counter!("tollgate_backend_release_files_refused_total").increment(1);
    let text = format!("could not serve file {name} of a release: {failure}; store it once more");
    ApiError::internal_because("release_file", text)
}

fn no_file() -> ApiError {
    ApiError::not_found("such file")
}

/// A file, or parts of it.
struct FileResponse {
    status: Status,
    etag: String,
    is_public: bool,
    content_type: String,
    content_range: Option<String>,
    pieces: Vec<Piece>,
    shelved: Shelved,
}

impl FileResponse {
    fn of(conditions: &Conditions<'_>, file: &StoredFile, shelved: Shelved, is_public: bool) -> Self {
        let size = file.size as u64;
        let etag = etag_of(file);
        // A weak tag is none that says which bytes there are; a time says nothing of a file that never changes.
        let is_same = conditions.if_range.is_none_or(|given| given.trim() == etag);
        let wanted = Wanted::of(conditions.range.filter(|_| is_same), size);
        let is_known = |given: &str| given.trim() == "*" || given.split(',').any(|one| one.trim() == etag);
        let is_known = conditions.if_none_match.is_some_and(is_known);
        let mut response = Self {
            status: Status::Ok,
            etag,
            is_public,
            content_type: MEDIA_TYPE.to_owned(),
            content_range: None,
            pieces: Vec::new(),
            shelved,
        };
        if is_known {
            response.status = Status::NotModified;
            return response;
        }
        match wanted {
            Wanted::Whole => response.pieces = vec![Piece::Bytes(0..size)],
            Wanted::Unsatisfiable => {
                response.status = Status::RangeNotSatisfiable;
                response.content_range = Some(format!("bytes */{size}"));
            }
            Wanted::Parts(parts) => {
                response.status = Status::PartialContent;
                if let [part] = &parts[..] {
                    response.content_range = Some(ranges::content_range(part, size));
                    response.pieces = vec![Piece::Bytes(part.clone())];
                } else {
                    // The digest, which stands in no file by itself, and hardly ever in its own.
                    let boundary = hex::encode(&file.sha512.as_bytes()[..16.min(file.sha512.len())]);
                    response.pieces = ranges::multipart(&parts, size, &boundary, MEDIA_TYPE);
                    response.content_type = format!("multipart/byteranges; boundary={boundary}");
                }
            }
        }
        response
    }
}

/// What a file is known by: another one has other bytes, and so another digest.
fn etag_of(file: &StoredFile) -> String {
    let digest: String = file.sha512.chars().filter(char::is_ascii_alphanumeric).take(ETAG_CHARACTERS).collect();
    format!("\"{digest}\"")
}

/// The pieces as they are sent, none of which is in memory before its turn.
fn body(shelved: Shelved, pieces: Vec<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    let mut pieces = pieces;
    pieces.reverse();
    stream::try_unfold((shelved, pieces), |(shelved, mut pieces)| async move {
        loop {
            match pieces.pop() {
                None => return Ok(None),
                Some(Piece::Text(text)) => return Ok(Some((Bytes::from(text), (shelved, pieces)))),
                Some(Piece::Bytes(part)) if part.is_empty() => {}
                Some(Piece::Bytes(mut part)) => {
                    let read = shelved.read(&part).await?;
                    part.start += read.len() as u64;
                    pieces.push(Piece::Bytes(part));
                    return Ok(Some((read, (shelved, pieces))));
                }
            }
        }
    })
}

impl<'r> Responder<'r, 'static> for FileResponse {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        let cache = if self.is_public { "public, max-age=31536000, immutable" } else { "private, no-cache" };
        response
            .status(self.status)
            .raw_header("ETag", self.etag)
            .raw_header("Accept-Ranges", "bytes")
            .raw_header("Cache-Control", cache)
            .raw_header("X-Content-Type-Options", "nosniff");
        if let Some(range) = self.content_range {
            response.raw_header("Content-Range", range);
        }
        if self.status == Status::NotModified {
            return response.ok();
        }
        if self.status == Status::RangeNotSatisfiable {
            let message = "the file ends before the bytes that are asked for";
            let error = ApiError::new(self.status, "range_not_satisfiable", message);
            return response.join(error.respond_to(request)?).ok();
        }
        response
            .raw_header("Content-Type", self.content_type)
            .raw_header("Content-Disposition", "attachment")
            .raw_header("Content-Length", ranges::length(&self.pieces).to_string())
            .streamed_body(StreamReader::new(Box::pin(body(self.shelved, self.pieces))))
            .ok()
    }
}

impl Answers for FileResponse {
    fn describe(operation: &mut Operation) {
        operation.succeed(Status::Ok, MEDIA_TYPE, schema_of_file);
        operation.succeed(Status::PartialContent, "multipart/byteranges", schema_of_file);
        operation.succeed_empty(Status::NotModified);
        operation.refuse(ApiError::new(
            Status::RangeNotSatisfiable,
            "range_not_satisfiable",
            "the file ends before that",
        ));
    }
}
