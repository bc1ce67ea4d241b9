//! Each thing is told once by each channel, whoever tells it again and whichever replica sends it, on both engines.

use std::collections::{BTreeMap, BTreeSet};

use rocket::http::{Header, Method};
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_domain::notifications::{Channel, Recipient, Template};
use tollgate_shared::Rng;
use tollgate_tests::python;
use tollgate_tests::script::Script;

use super::sending::{ask_as, gateway, mail_server, tell_to, token};
use crate::channels::push::vapid::VapidKey;
use crate::notifications::sending::send_all;
use crate::on_each_engine;
use crate::testing::TestApp;

/// One user for each template, since nobody is told everything within an hour.
fn user_of(template: Template) -> String {
    format!("user_of_{}", template.name())
}

fn customer_of(template: Template) -> String {
    format!("cus_of_{}", template.name())
}

/// Makes a user known who wants everything everywhere, and has a browser and a phone.
async fn reachable(app: &TestApp, template: Template, browser: &Value) {
    let (user, customer, name) = (user_of(template), customer_of(template), template.name());
    let object = json!({
        "id": customer, "object": "customer", "name": "Ada", "email": format!("{name}@example.net"),
        "metadata": { "user_id": user },
    });
    app.take(&format!("evt_{customer}"), "customer.created", object).await;
    let signed_in: Header<'static> = token(&user);
    let everywhere = json!(["email", "push"]);
    let wanted = json!({ "categories": { "reminders": everywhere, "pods": everywhere, "support": everywhere } });
    assert_eq!(ask_as(app, &signed_in, Method::Put, "/api/notifications/preferences", &wanted).await.status, 200);
    let endpoint = format!("{}/{name}/201", browser["endpoint"].as_str().unwrap());
    let keys = json!({ "p256dh": browser["p256dh"], "auth": browser["auth"] });
    for device in [
        json!({ "kind": "webpush", "endpoint": endpoint, "keys": keys }),
        json!({ "kind": "app", "platform": "android", "token": format!("token of {name}") }),
    ] {
        let made = ask_as(app, &signed_in, Method::Post, "/api/notifications/devices", &device).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
}

/// The next so many things that a program says, by what `name` finds in each: each once.
async fn each_once(script: &mut Script, count: usize, name: impl Fn(&Value) -> &Value) -> BTreeMap<String, Value> {
    let mut came = BTreeMap::new();
    for _ in 0..count {
        let said = script.next().await.unwrap();
        let name = name(&said).as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
        assert!(came.insert(name.clone(), said).is_none(), "{name} came twice");
    }
    came
}

fn named(came: &BTreeMap<String, Value>) -> BTreeSet<&str> {
    came.keys().map(String::as_str).collect()
}

fn by(channel: Channel) -> BTreeSet<&'static str> {
    Template::ALL.into_iter().filter(|template| template.may_go_by(channel)).map(Template::name).collect()
}

#[test]
fn each_template_arrives_once_by_each_channel() {
    on_each_engine!(async |db: Db| {
        let (mut mails, smtp_url) = mail_server().await;
        let mut browsers = python::start("push_service.py", &[]);
        let browser = browsers.next().await.unwrap();
        let vapid_key = VapidKey::draw(&Rng::system()).private_key();
        let variables = [
            ("SMTP_URL", &*smtp_url),
            ("MAIL_FROM", "Acme <billing@example.com>"),
            ("VAPID_PRIVATE_KEY", &**vapid_key),
            ("VAPID_SUBJECT", "mailto:ops@example.com"),
            ("PUSH_HOSTS", "127.0.0.1"),
        ];
        let (mut apps, app) = gateway(db.clone(), 202, &variables).await;
        let replica = app.replica(db).await;
        for template in Template::ALL {
            reachable(&app, template, &browser).await;
        }
        // And once more, when all of it was sent.
        for _ in 0..2 {
            for (teller, template) in [&app, &replica].into_iter().flat_map(|it| Template::ALL.map(|one| (it, one))) {
                let recipient = Recipient::user(&user_of(template), Some(&customer_of(template)));
                tell_to(teller, recipient, template, "once").await;
            }
            let (here, there) = tokio::join!(send_all(&app.inner), send_all(&replica.inner));
            here.unwrap();
            there.unwrap();
        }
        let (mailed, pushed) = (by(Channel::Email), by(Channel::Push));
        let came = each_once(&mut mails, mailed.len(), |mail| &mail["headers"]["X-Tollgate-Template"]).await;
        assert_eq!(named(&came), mailed);
        let ids: BTreeSet<_> = came.values().map(|mail| mail["headers"]["Message-ID"].to_string()).collect();
        assert_eq!(ids.len(), mailed.len(), "{ids:?}");
        for (template, mail) in &came {
            assert_eq!(mail["to"], json!([format!("{template}@example.net")]));
        }
        let came = each_once(&mut browsers, pushed.len(), |push| &push["push"]["template"]).await;
        assert_eq!(named(&came), pushed);
        for (template, push) in &came {
            assert_eq!((&push["verified"], &push["path"]), (&json!(true), &json!(format!("/wpush/{template}/201"))));
        }
        let came = each_once(&mut apps, pushed.len(), |push| &push["push"]["data"]["template"]).await;
        assert_eq!(named(&came), pushed);
        for (template, push) in &came {
            assert_eq!(push["push"]["token"], format!("token of {template}"));
        }

        // Had anything come twice, it would be the next to come.
        let template = Template::GraceEnded;
        let recipient = Recipient::user(&user_of(template), Some(&customer_of(template)));
        tell_to(&app, recipient, template, "another").await;
        send_all(&app.inner).await.unwrap();
        assert_eq!(mails.next().await.unwrap()["headers"]["X-Tollgate-Template"], template.name());
        assert_eq!(browsers.next().await.unwrap()["push"]["template"], template.name());
        assert_eq!(apps.next().await.unwrap()["push"]["data"]["template"], template.name());
    });
}
