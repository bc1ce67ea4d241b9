//! Releases through Rocket's local client, on both engines.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;
use tollgate_db::Db;
use tollgate_domain::releases;

use super::retention;
use super::shelf::Shelf;
use crate::on_each_engine;
use crate::testing::{START, TestApp, TestResponse, signed_in, subscription_of};

const PATH: &str = "/api/admin/releases";

/// An app, and the folder of its releases.
struct Site {
    app: TestApp,
    folder: TempDir,
}

/// A response, with its bytes.
struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

fn sha512(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha512::digest(bytes))
}

fn file(name: &str, bytes: &[u8]) -> Value {
    json!({ "name": name, "platform": "win", "arch": "x64", "size": bytes.len(), "sha512": sha512(bytes) })
}

fn release(version: &str, files: &[Value]) -> Value {
    json!({ "version": version, "channel": "latest", "files": files })
}

impl Site {
    async fn on(db: Db) -> Self {
        Self::with(db, &[]).await
    }

    async fn with(db: Db, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = [("RELEASES_DIR", folder.path().to_str().unwrap()), ("RELEASE_FILE_BYTES_MAX", "100000")];
        Self { app: TestApp::with(db, &[&own, variables].concat()).await, folder }
    }

    async fn put(&self, id: &str, name: &str, bytes: &[u8]) -> TestResponse {
        let path = format!("{PATH}/{id}/files/{name}");
        let request = self.app.client.put(path).header(signed_in("ada", "admin")).header(ContentType::Binary);
        TestResponse::of(request.body(bytes)).await
    }

    async fn act(&self, id: &str, verb: &str, body: &Value) -> TestResponse {
        self.app.act(&format!("{PATH}/{id}/{verb}"), body).await
    }

    /// Makes a release, stores its files, publishes it; gives its id.
    async fn publish(&self, mut release: Value, files: &[(&str, &[u8])]) -> String {
        release["files"] = files.iter().map(|(name, bytes)| file(name, bytes)).collect();
        let draft = self.app.act(PATH, &release).await;
        assert_eq!(draft.status, 201, "{draft:?}");
        let id = draft.json()["id"].as_str().unwrap().to_owned();
        for (name, bytes) in files {
            assert_eq!(self.put(&id, name, bytes).await.status, 204);
        }
        let published = self.act(&id, "publish", &json!({})).await;
        assert_eq!((published.status, &published.json()["status"]), (200, &json!("published")), "{published:?}");
        id
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Got {
        let mut request = self.app.client.get(path.to_owned());
        for (name, value) in headers {
            request.add_header(Header::new(*name, (*value).to_owned()));
        }
        let response = request.dispatch().await;
        let headers = response.headers().iter();
        let headers = headers.map(|header| (header.name().to_string(), header.value().to_owned())).collect();
        Got { status: response.status().code, headers, body: response.into_bytes().await.unwrap_or_default() }
    }

    async fn refusal(&self, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
        let mut request = self.app.client.get(path.to_owned());
        for (name, value) in headers {
            request.add_header(Header::new(*name, (*value).to_owned()));
        }
        TestResponse::of(request).await.refusal()
    }

    fn stored(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_release_is_made_stored_published_and_withdrawn() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let new = json!({
            "version": "1.2.3", "channel": "latest", "name": "Three", "notes": "- <b>x</b>", "rolloutPercent": 50,
            "feature": "sync", "tiers": ["pro"], "files": [file("app 1.2.3.exe", b"windows")],
        });
        let draft = site.app.act(PATH, &new).await;
        assert_eq!(draft.status, 201, "{draft:?}");
        let draft = draft.json();
        assert_eq!((&draft["status"], &draft["files"][0]["stored"]), (&json!("draft"), &json!(false)));
        let again = site.app.act(PATH, &new).await;
        assert_eq!((again.status, again.json()), (200, draft.clone()));
        let id = draft["id"].as_str().unwrap();
        assert_eq!(site.act(id, "publish", &json!({})).await.refusal(), refused(409, "files_missing"));
        for _ in 0..2 {
            assert_eq!(site.put(id, "app%201.2.3.exe", b"windows").await.status, 204);
        }
        assert_eq!(site.app.look_up(&format!("{PATH}/{id}")).await.json()["files"][0]["stored"], true);
        let published = site.act(id, "publish", &json!({})).await.json();
        assert_eq!(
            (&published["status"], &published["publishedAt"]),
            (&json!("published"), &json!("2025-06-15T15:06:40Z"))
        );
        assert_eq!(site.act(id, "publish", &json!({})).await.json(), published);
        assert_eq!(site.act(id, "rollout", &json!({ "percent": 100 })).await.json()["rolloutPercent"], 100);
        assert_eq!(
            site.act(id, "rollout", &json!({ "percent": 101 })).await.refusal(),
            refused(422, "invalid_parameter")
        );
        assert_eq!(
            site.act(id, "withdraw", &json!({ "reason": " " })).await.refusal(),
            refused(422, "invalid_parameter")
        );
        let withdrawn = site.act(id, "withdraw", &json!({ "reason": "it crashes" })).await.json();
        assert_eq!((&withdrawn["status"], &withdrawn["withdrawReason"]), (&json!("withdrawn"), &json!("it crashes")));
        assert_eq!(site.act(id, "publish", &json!({})).await.refusal(), refused(409, "withdrawn"));
        assert_eq!(site.app.look_up(PATH).await.json()["data"], json!([withdrawn]));

        let trail = site.app.look_up(&format!("/api/admin/audit?target={id}")).await.json();
        let mut actions: Vec<_> =
            trail["data"].as_array().unwrap().iter().map(|act| act["action"].as_str().unwrap()).collect();
        actions.sort_unstable();
        let expected = ["release.create", "release.publish", "release.rollout", "release.store", "release.withdraw"];
        assert_eq!(actions, expected);
    });
}

#[test]
fn a_file_that_is_not_the_announced_one_leaves_nothing() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let id = site.app.act(PATH, &release("1.0.0", &[file("a.exe", b"windows")])).await.json()["id"].clone();
        let id = id.as_str().unwrap();
        for bytes in [&b"Windows"[..], b"window", b"windows and more", b""] {
            assert_eq!(site.put(id, "a.exe", bytes).await.refusal(), refused(422, "checksum_mismatch"));
        }
        assert_eq!(site.stored(), 0);
        assert_eq!(site.put(id, "b.exe", b"windows").await.refusal(), refused(404, "not_found"));
        assert_eq!(site.put("rel_unknown", "a.exe", b"windows").await.refusal(), refused(404, "not_found"));
        assert_eq!(site.put(id, "a.exe", b"windows").await.status, 204);
        assert_eq!(site.stored(), 1);
    });
}

#[test]
fn a_version_or_name_never_has_other_bytes() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.publish(release("1.0.0", &[]), &[("a-1.0.0.exe", b"one")]).await;
        let other = release("1.0.0", &[file("a-1.0.0.exe", b"two")]);
        assert_eq!(site.app.act(PATH, &other).await.refusal(), refused(409, "version_exists"));
        let other = release("1.0.1", &[file("a-1.0.0.exe", b"two")]);
        assert_eq!(site.app.act(PATH, &other).await.refusal(), refused(409, "file_exists"));
        // Two drafts of which only one can have the name.
        let mut ids = Vec::new();
        for (version, bytes) in [("1.1.0", &b"three"[..]), ("1.1.1", b"four")] {
            let draft = site.app.act(PATH, &release(version, &[file("b.exe", bytes)])).await.json();
            ids.push(draft["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(site.put(&ids[0], "b.exe", b"three").await.status, 204);
        assert_eq!(site.put(&ids[1], "b.exe", b"four").await.refusal(), refused(409, "file_exists"));
        assert_eq!(site.stored(), 2, "what was refused is not kept");
        assert_eq!(site.act(&ids[1], "publish", &json!({})).await.refusal(), refused(409, "file_exists"));
        // The same bytes may be in another channel.
        let mut beta = release("1.0.0", &[file("a-1.0.0.exe", b"one")]);
        beta["channel"] = json!("beta");
        let draft = site.app.act(PATH, &beta).await.json();
        assert_eq!(site.act(draft["id"].as_str().unwrap(), "publish", &json!({})).await.status, 200);
    });
}

#[test]
fn what_a_release_cannot_be_is_refused_by_name() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        for (param, value) in [
            ("version", json!("1.2")),
            ("channel", json!("latest-mac")),
            ("rolloutPercent", json!(101)),
            ("files", json!([])),
            ("files", json!([file("a.exe", b"a"), file("a.exe", b"a")])),
            ("files.name", json!([file("../a.exe", b"a")])),
            ("files.size", json!([file("a.exe", b"")])),
            ("files.size", json!([file("a.exe", &vec![0; 100_001])])),
            ("files.sha512", json!([{ "name": "a", "platform": "mac", "arch": "arm64", "size": 1, "sha512": "x" }])),
            ("files.platform", json!([{ "name": "a", "platform": "dos", "arch": "x64", "size": 1, "sha512": "x" }])),
            ("files.arch", json!([{ "name": "a", "platform": "win", "arch": "ia32", "size": 1, "sha512": "x" }])),
        ] {
            let mut body = release("1.0.0", &[file("a.exe", b"a")]);
            body[param.split('.').next().unwrap()] = value;
            let answer = site.app.act(PATH, &body).await;
            assert_eq!(answer.refused_parameter(), (422, "invalid_parameter".to_owned(), Some(param.to_owned())));
        }
        let forbidden = site.app.as_user(Method::Get, PATH, &signed_in("user_1", "user")).await;
        assert_eq!(forbidden.refusal(), refused(403, "forbidden"));
    });
}

#[test]
fn a_feed_has_the_newest_version_that_is_rolled_out() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        assert_eq!(site.refusal("/api/releases/latest.yml", &[]).await, refused(404, "no_release"));
        // Published in another order than that of their versions.
        let mut newest = release("1.10.0", &[]);
        newest["rolloutPercent"] = json!(10);
        site.publish(newest, &[("a-1.10.0.exe", b"ten")]).await;
        site.publish(release("1.9.0", &[]), &[("a-1.9.0.exe", b"nine"), ("a-1.9.0.exe.blockmap", b"map")]).await;
        let version = async |headers: &[(&'static str, &str)]| {
            let feed = site.get("/api/releases/latest.yml?noCache=1h2k", headers).await;
            assert_eq!((feed.status, feed.header("content-type")), (200, Some("application/yaml")));
            let feed = String::from_utf8(feed.body).unwrap();
            (feed.lines().next().unwrap().to_owned(), feed.contains("stagingPercentage: 10"))
        };
        assert_eq!(version(&[]).await, ("version: \"1.10.0\"".to_owned(), true));
        let early = ("x-user-staging-id", "6ba7b810-9dad-51d1-80b4-00c000100000");
        assert_eq!(version(&[early]).await, ("version: \"1.10.0\"".to_owned(), false));
        let late = ("x-user-staging-id", "6ba7b810-9dad-51d1-80b4-00c0ff000000");
        assert_eq!(version(&[late]).await, ("version: \"1.9.0\"".to_owned(), false));
        for nothing in ["latest-mac.yml", "latest-linux.yml", "beta.yml"] {
            assert_eq!(site.refusal(&format!("/api/releases/{nothing}"), &[late]).await, refused(404, "no_release"));
        }
        assert_eq!(site.refusal("/api/releases/latest.json", &[]).await, refused(404, "no_release"));

        let latest = TestResponse::of(site.app.client.get("/api/releases/latest")).await.json();
        let expected = json!({
            "version": "1.9.0", "channel": "latest", "name": null, "notes": null, "publishedAt": "2025-06-15T15:06:40Z",
            "downloads": [{
                "platform": "win", "arch": "x64", "filename": "a-1.9.0.exe", "size": 4, "sha512": sha512(b"nine"),
                "url": "/api/releases/files/a-1.9.0.exe",
            }],
        });
        assert_eq!(latest, expected);
        for (query, status) in [("platform=win&arch=x64", 200), ("platform=mac", 404), ("arch=arm64", 404)] {
            let answer = TestResponse::of(site.app.client.get(format!("/api/releases/latest?{query}"))).await;
            assert_eq!(answer.status, status, "{query}");
        }
        let odd = TestResponse::of(site.app.client.get("/api/releases/latest?platform=dos")).await;
        assert_eq!(odd.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("platform".to_owned())));
    });
}

#[test]
fn a_file_is_given_whole_or_in_ranges() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let bytes: Vec<u8> = (0..90_000_u32).map(|number| (number % 251) as u8).collect();
        site.publish(release("1.0.0", &[]), &[("a.exe", &bytes)]).await;
        let path = "/api/releases/files/a.exe";
        let whole = site.get(path, &[]).await;
        assert_eq!((whole.status, whole.header("content-length")), (200, Some("90000")));
        assert!(whole.body == bytes);
        let etag = whole.header("etag").unwrap().to_owned();
        let part = site.get(path, &[("range", "bytes=10-19"), ("if-range", &etag)]).await;
        assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 10-19/90000")));
        assert_eq!(part.body, bytes[10..20]);
        let parts = site.get(path, &[("range", "bytes=5-6, 80000-89999")]).await;
        assert_eq!(parts.status, 206);
        let boundary = parts.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut expected =
            format!("--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 5-6/90000\r\n\r\n")
                .into_bytes();
        expected.extend_from_slice(&bytes[5..7]);
        expected.extend_from_slice(format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 80000-89999/90000\r\n\r\n").as_bytes());
        expected.extend_from_slice(&bytes[80_000..]);
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(parts.body == expected);
        assert_eq!(parts.header("content-length"), Some(&*expected.len().to_string()));
        for headers in [&[("range", "bytes=0-9"), ("if-range", "\"another\"")][..], &[("range", "lines=1-2")]] {
            assert_eq!(site.get(path, headers).await.status, 200, "{headers:?}");
        }
        let beyond = site.get(path, &[("range", "bytes=90000-")]).await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */90000")));
        let known = site.get(path, &[("if-none-match", &etag)]).await;
        assert_eq!((known.status, known.body.len()), (304, 0));
        assert_eq!(site.refusal("/api/releases/files/b.exe", &[]).await, refused(404, "not_found"));
    });
}

#[test]
fn a_draft_is_nobodys_and_a_withdrawn_file_is_served_for_a_while() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let draft = site.app.act(PATH, &release("2.0.0", &[file("b.exe", b"two")])).await.json();
        assert_eq!(site.put(draft["id"].as_str().unwrap(), "b.exe", b"two").await.status, 204);
        assert_eq!(site.refusal("/api/releases/files/b.exe", &[]).await, refused(404, "not_found"));
        let id = site.publish(release("1.0.0", &[]), &[("a.exe", b"one")]).await;
        site.act(&id, "withdraw", &json!({ "reason": "it crashes" })).await;
        assert_eq!(site.refusal("/api/releases/latest.yml", &[]).await, refused(404, "no_release"));
        let day = std::time::Duration::from_secs(86_400);
        site.app.inner.clock.advance(89 * day);
        assert_eq!(site.get("/api/releases/files/a.exe", &[]).await.body, b"one");
        assert_eq!(retention::remove(&site.app.inner).await, Ok(0));
        site.app.inner.clock.advance(day);
        assert_eq!(site.refusal("/api/releases/files/a.exe", &[]).await, refused(404, "not_found"));
        assert_eq!(retention::remove(&site.app.inner).await, Ok(1));
        assert_eq!(retention::remove(&site.app.inner).await, Ok(0));
        assert_eq!(site.stored(), 1, "the draft's stays");
    });
}

#[test]
fn a_file_that_comes_again_while_it_is_removed_stays() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let app = &site.app.inner;
        let id = site.publish(release("1.0.0", &[]), &[("a.exe", b"one")]).await;
        site.act(&id, "withdraw", &json!({ "reason": "it crashes" })).await;
        let mut tx = app.begin_write().await.unwrap();
        let long_ago = app.clock.now() - releases::WITHDRAWN_KEPT;
        tx.sql("UPDATE releases SET withdrawn_at = $1").bind(long_ago).run().await.unwrap();
        tx.commit().await.unwrap();
        let names = BTreeSet::from(["a.exe".to_owned()]);
        let stored = releases::stored(&mut app.read().await.unwrap(), &names).await.unwrap();
        assert_eq!(retention::forget(app, &stored["a.exe"]).await, Ok(true));
        // That it is gone is noted, and it comes again before it is.
        let mut beta = release("1.0.0", &[]);
        beta["channel"] = json!("beta");
        site.publish(beta, &[("a.exe", b"one")]).await;
        retention::take_away(app, &Shelf::new(site.folder.path()), &stored["a.exe"]).await.unwrap();
        assert_eq!(site.get("/api/releases/files/a.exe", &[]).await.body, b"one");
    });
}

#[test]
fn who_may_have_a_release_shows_a_licence() {
    on_each_engine!(async |db| {
        let site = Site::with(db, &[("RELEASES_ACCESS", "licensed"), ("PUBLIC_URL", "https://relay.example")]).await;
        let app = &site.app;
        app.take_a_subscriber().await;
        app.subscriber("cus_2", "user_2").await;
        let license =
            async |customer: &str| app.get(&format!("/v1/customers/{customer}")).await.json()["licenses"][0].take();
        let (mine, other) = (license("cus_1").await, license("cus_2").await);
        site.publish(release("1.0.0", &[]), &[("a-1.exe", b"one")]).await;
        let mut for_team = release("2.0.0", &[]);
        for_team["tiers"] = json!(["team"]);
        site.publish(for_team, &[("a-2.exe", b"two")]).await;
        let (feed, first, second) =
            ("/api/releases/latest.yml", "/api/releases/files/a-1.exe", "/api/releases/files/a-2.exe");
        for path in [feed, first, second, "/api/releases/latest"] {
            assert_eq!(site.refusal(path, &[]).await, refused(401, "license_required"));
            let nobodys = ("authorization", "License 23456-789AB-CDEFG-HJKLM-NPQRH");
            assert_eq!(site.refusal(path, &[nobodys]).await, refused(401, "license_required"));
            assert_eq!(site.refusal(&format!("{path}?token=forged"), &[]).await, refused(401, "license_required"));
        }
        let shown = format!("License {}", mine["key"].as_str().unwrap());
        let key = ("authorization", &*shown);
        let of_feed = String::from_utf8(site.get(feed, &[key]).await.body).unwrap();
        assert!(of_feed.starts_with("version: \"1.0.0\""), "{of_feed}");
        assert_eq!(site.get(first, &[key]).await.body, b"one");
        assert_eq!(site.refusal(second, &[key]).await, refused(403, "not_entitled"));

        // By the sign-in of a user, and by a token that lasts ten minutes.
        let latest = app.see("/api/releases/latest").await.json();
        let url = latest["downloads"][0]["url"].as_str().unwrap();
        let link = url.strip_prefix("https://relay.example").unwrap();
        assert!(link.starts_with("/api/releases/files/a-1.exe?token="), "{link}");
        assert_eq!(site.get(link, &[]).await.body, b"one");
        let token = link.split_once("token=").unwrap().1;
        assert_eq!(site.refusal(&format!("{second}?token={token}"), &[]).await, refused(403, "not_entitled"));
        app.inner.clock.advance(std::time::Duration::from_secs(500));
        let again = TestResponse::of(app.client.get(format!("/api/releases/latest?token={token}"))).await;
        assert_eq!(again.header("cache-control"), Some("no-store"));
        assert_eq!(again.json()["downloads"][0]["url"], url, "who has a link alone gets no newer one");
        app.inner.clock.advance(std::time::Duration::from_secs(200));
        assert_eq!(site.refusal(link, &[]).await, refused(401, "license_required"));
        let stranger = app.as_user(Method::Get, first, &signed_in("user_3", "user")).await;
        assert_eq!(stranger.refusal(), refused(403, "not_entitled"));

        let revoke = format!("/api/admin/licenses/{}/revoke", other["id"].as_str().unwrap());
        app.act(&revoke, &json!({ "reason": "a test" })).await;
        let shown = format!("License {}", other["key"].as_str().unwrap());
        assert_eq!(site.refusal(feed, &[("authorization", &shown)]).await, refused(403, "license_revoked"));
        let mut ended = subscription_of("cus_1", "canceled");
        ended["id"] = json!("sub_1");
        ended["ended_at"] = json!(START + 60);
        app.take("evt_ended", "customer.subscription.deleted", ended).await;
        assert_eq!(site.refusal(feed, &[key]).await, refused(403, "license_expired"));
    });
}

#[test]
fn what_was_changed_on_disk_is_not_served_until_it_comes_again() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.publish(release("1.0.0", &[]), &[("a.exe", b"one")]).await;
        assert_eq!(site.get("/api/releases/files/a.exe", &[]).await.body, b"one");
        let stored = fs::read_dir(site.folder.path()).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(&stored).unwrap();
        fs::write(&stored, b"two").unwrap();
        assert_eq!(site.refusal("/api/releases/files/a.exe", &[]).await, refused(500, "internal_error"));
        // Whoever publishes the same again is told that it is missing, and sends it.
        let again = site.app.act(PATH, &release("1.0.0", &[file("a.exe", b"one")])).await.json();
        assert_eq!((&again["status"], &again["files"][0]["stored"]), (&json!("published"), &json!(false)), "{again}");
        assert_eq!(site.put(again["id"].as_str().unwrap(), "a.exe", b"one").await.status, 204);
        assert_eq!(site.get("/api/releases/files/a.exe", &[]).await.body, b"one");
    });
}
