//! A real mail server that refuses, stalls, greylists and dies.

use lettre::transport::smtp::client::Certificate;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tollgate_tests::python;
use tollgate_tests::script::Script;

use super::*;

/// What a message is given where it is to be too long.
const SHORT: Duration = Duration::from_millis(500);

/// A mail server, and somebody who knows it.
struct Scene {
    server: Script,
    certificate: Certificate,
    port: u64,
}

impl Scene {
    async fn start(wants: &[&str]) -> Self {
        let mut server = python::start("mail_server.py", wants);
        let said = server.next().await.unwrap();
        let certificate = Certificate::from_pem(said["certificate"].as_str().unwrap().as_bytes()).unwrap();
        Self { server, certificate, port: said["port"].as_u64().unwrap() }
    }

    /// Whoever sends by this server, at an address that `HERE` stands in for.
    fn mailer(&self, url: &str, limit: Duration) -> Mailer {
        mailer(&url.replace("HERE", &format!("127.0.0.1:{}", self.port)), limit)
    }

    async fn got(&mut self) -> Value {
        self.server.next().await.unwrap()
    }
}

fn mailer(url: &str, limit: Duration) -> Mailer {
    let variables = [("SMTP_URL", url), ("MAIL_FROM", "Tollgate <billing@example.com>")];
    Mailer::new(&config(&variables).channels.mail.unwrap(), Some("pay.example.com"), limit)
}

async fn send(mailer: &Mailer, address: &str) -> Outcome {
    let message = letter(address);
    timeout(PATIENCE, mailer.send(&message, address, Some("Ada Lovelace"))).await.unwrap()
}

fn letter(address: &str) -> Outgoing {
    let mail = Mail {
        subject: "Zahlung nötig, Zoë".to_owned(),
        text: "Noch zwei Tage.\n.\nGruß\n".to_owned(),
        html: "<p>Noch zwei Tage.</p>\n".to_owned(),
        list_unsubscribe: Some("https://pay.example.com/unsubscribe?token=1".to_owned()),
    };
    Outgoing { mail: Some(mail), ..message(ada(address)) }
}

/// An outcome that is not final, and why.
fn later(sent: Outcome) -> String {
    match sent {
        Outcome::Later { error, after: None } => error,
        other => panic!("{other:?}"),
    }
}

#[rocket::async_test]
async fn a_server_that_lets_nobody_in_has_refused_no_mail() {
    let scene = Scene::start(&["closed"]).await;
    let why = later(send(&scene.mailer("smtp://HERE?tls=none", PATIENCE), "ada@example.net").await);
    assert!(why.contains("554") && why.contains("on a list"), "{why}");
}

#[rocket::async_test]
async fn a_mail_arrives_as_text_and_html_under_its_own_id() {
    let mut scene = Scene::start(&[]).await;
    assert_eq!(send(&scene.mailer("smtp://HERE?tls=none", PATIENCE), "ada@example.net").await, Outcome::Sent);
    let got = scene.got().await;
    assert_eq!((&got["from"], &got["to"]), (&json!("billing@example.com"), &json!(["ada@example.net"])));
    assert_eq!((&got["hello"], &got["type"]), (&json!("pay.example.com"), &json!("multipart/alternative")));
    assert_eq!(got["parts"]["text/plain"], "Noch zwei Tage.\n.\nGruß\n");
    assert_eq!(got["parts"]["text/html"], "<p>Noch zwei Tage.</p>\n");
    for (name, value) in [
        ("From", "Tollgate <billing@example.com>"),
        ("To", "Ada Lovelace <ada@example.net>"),
        ("Subject", "Zahlung nötig, Zoë"),
        ("Message-ID", "<msg_0193a5b0@pay.example.com>"),
        ("X-Tollgate-Template", "grace_ending"),
        ("List-Unsubscribe", "<https://pay.example.com/unsubscribe?token=1>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ] {
        assert_eq!(got["headers"][name], value, "{name}");
    }
}

#[rocket::async_test]
async fn mails_share_a_connection_until_it_is_cut() {
    let mut scene = Scene::start(&[]).await;
    let mailer = scene.mailer("smtp://HERE?tls=none", PATIENCE);
    let mut connections = Vec::new();
    for _ in 0..2 {
        assert_eq!(send(&mailer, "ada@example.net").await, Outcome::Sent);
        connections.push(scene.got().await["connection"].clone());
    }
    later(send(&mailer, "closing@example.net").await);
    assert_eq!(send(&mailer, "ada@example.net").await, Outcome::Sent);
    connections.push(scene.got().await["connection"].clone());
    assert!(connections[0] == connections[1] && connections[1] != connections[2], "{connections:?}");
}

#[rocket::async_test]
async fn what_a_server_refuses_is_final_and_names_nobody() {
    let mut scene = Scene::start(&[]).await;
    let mailer = scene.mailer("smtp://HERE?tls=none", PATIENCE);
    let refused = |code: &str, error: &str| Outcome::refused(code, error);
    assert_eq!(
        send(&mailer, "unknown.lovelace@example.net").await,
        refused("550", "the mail server answered 550 5.1.1 no such user here")
    );
    assert_eq!(
        send(&mailer, "spam@example.net").await,
        refused("554", "the mail server answered 554 5.7.1 message refused")
    );
    for bad in ["", "nobody", "a b@example.net", "ada@example.net\r\nRCPT TO:<eve@example.net>"] {
        assert_eq!(send(&mailer, bad).await, refused("invalid_address", "the e-mail address is none"), "{bad}");
    }
    // The connection of a refusal is of no harm to the next message.
    assert_eq!(send(&mailer, "ada@example.net").await, Outcome::Sent);
    assert_eq!(scene.got().await["to"], json!(["ada@example.net"]));
}

#[rocket::async_test]
async fn what_a_server_puts_off_is_tried_again() {
    let mut scene = Scene::start(&[]).await;
    let mailer = scene.mailer("smtp://HERE?tls=none", PATIENCE);
    let greylisted = later(send(&mailer, "greylisted@example.net").await);
    assert_eq!(greylisted, "the mail server answered 451 4.7.1 is come back later");
    assert_eq!(later(send(&mailer, "full@example.net").await), "the mail server answered 452 4.2.2 mailbox");
    assert_eq!(send(&mailer, "greylisted@example.net").await, Outcome::Sent);
    assert_eq!(scene.got().await["to"], json!(["greylisted@example.net"]));
}

#[rocket::async_test]
async fn a_server_that_stalls_holds_a_mail_up_no_longer_than_it_may() {
    let mut scene = Scene::start(&[]).await;
    let mailer = scene.mailer("smtp://HERE?tls=none", SHORT);
    for address in ["stalls@example.net", "takes.and.stalls@example.net"] {
        assert_eq!(later(send(&mailer, address).await), "the mail server did not answer in time", "{address}");
    }
    // What it has still to say of those is not read as the answer to another.
    let mailer = mailer.within(PATIENCE);
    assert_eq!(send(&mailer, "ada@example.net").await, Outcome::Sent);
    assert_eq!(scene.got().await["to"], json!(["ada@example.net"]));

    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}?tls=none", silent.local_addr().unwrap());
    let error = later(send(&self::mailer(&url, SHORT), "ada@example.net").await);
    assert_eq!(error, "the mail server did not answer in time");
}

#[rocket::async_test]
async fn a_server_that_dies_is_tried_again() {
    let scene = Scene::start(&[]).await;
    let mailer = scene.mailer("smtp://HERE?tls=none", PATIENCE);
    for address in ["dies@example.net", "takes.and.dies@example.net"] {
        later(send(&mailer, address).await);
    }
    drop(scene);
    let gone = later(send(&mailer, "ada@example.net").await);
    assert_eq!(gone, "the mail server could not be reached, or ended the connection");
}

#[rocket::async_test]
async fn nothing_is_said_in_plain_to_a_server_that_offers_no_tls() {
    let scene = Scene::start(&[]).await;
    let error = later(send(&scene.mailer("smtp://HERE", PATIENCE), "ada@example.net").await);
    assert_eq!(error, "the mail server offers no STARTTLS");
}

#[rocket::async_test]
async fn a_mail_goes_by_tls_to_a_server_that_can_be_trusted() {
    for (wants, url) in [("tls", "smtp://HERE"), ("implicit", "smtps://HERE")] {
        let mut scene = Scene::start(&[wants]).await;
        let stranger = scene.mailer(url, PATIENCE);
        let error = later(send(&stranger, "ada@example.net").await);
        assert_eq!(error, "no TLS with the mail server could be agreed on", "{wants}");
        let known = stranger.trusting(scene.certificate.clone());
        assert_eq!(send(&known, "ada@example.net").await, Outcome::Sent, "{wants}");
        let got = scene.got().await;
        assert_eq!((&got["encrypted"], &got["to"]), (&json!(true), &json!(["ada@example.net"])), "{wants}");
    }
}

#[rocket::async_test]
async fn a_server_knows_us_by_name_and_password() {
    let mut scene = Scene::start(&["login"]).await;
    let known = scene.mailer("smtp://ada:p%3Aw%3Fd@HERE?tls=none", PATIENCE);
    assert_eq!(send(&known, "ada@example.net").await, Outcome::Sent);
    assert_eq!(scene.got().await["user"], "ada");
    // Somebody mends that, and the message is not lost by it.
    let wrong = later(send(&scene.mailer("smtp://ada:secret@HERE?tls=none", PATIENCE), "ada@example.net").await);
    assert!(wrong.starts_with("the mail server answered 535 "), "{wrong}");
    let nobody = later(send(&scene.mailer("smtp://HERE?tls=none", PATIENCE), "ada@example.net").await);
    assert!(nobody.starts_with("the mail server answered 530 "), "{nobody}");
}

#[rocket::async_test]
async fn an_address_beyond_ascii_wants_a_server_that_takes_it() {
    let mut scene = Scene::start(&[]).await;
    assert_eq!(send(&scene.mailer("smtp://HERE?tls=none", PATIENCE), "zoë@example.net").await, Outcome::Sent);
    assert_eq!(scene.got().await["to"], json!(["zoë@example.net"]));
    let scene = Scene::start(&["ascii"]).await;
    let sent = send(&scene.mailer("smtp://HERE?tls=none", PATIENCE), "zoë@example.net").await;
    assert_eq!(sent, Outcome::refused("ascii_alone", "the mail server takes no address beyond ASCII"));
}
