//! Joining and leaving, against a stateful Stripe.

use std::sync::Arc;
use std::time::Duration;

use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tokio::join;
use tollgate_db::{Db, DbError, Faults, Moment, Operation};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::{PLANS, PRO_MONTHLY};
use tollgate_tests::stripe::rest::{Api, Fault, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};

use super::{DAY, ajo, day, id_of};
use crate::app::App;
use crate::on_each_engine;
use crate::pods::owed;
use crate::stripe_api::Timeouts;
use crate::testing::{AUTH_SECRET, START, TestApp, TestResponse, bearer, config_with_plans, sign_token};

/// Members to be, Stripe, and the application between them.
struct Scene {
    app: TestApp,
    api: Api,
    faults: Arc<Faults>,
    clock: Clock,
    told: usize,
    pod: String,
}

impl Scene {
    /// `user_2` to `user_5` can pay; there is a pod of these seats, which begins in two weeks.
    async fn with_seats(db: Db, seats: i64) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        for number in 2..6 {
            let customer = stripe.sign_up("ada@example.com", "Ada", Some(&format!("user_{number}")));
            stripe.change_card(&customer, "visa", "4242");
        }
        let api = Api::start(&stripe).await;
        let variables = [("STRIPE_SECRET_KEY", SECRET_KEY), ("STRIPE_API_BASE", &*api.base)];
        let config = Arc::new(config_with_plans(PLANS, &variables));
        let faults = Arc::new(Faults::default());
        let clock = Clock::manual(from_unix(START).unwrap());
        let mut app = App::new(config, db.with_faults(faults.clone()), clock.clone(), Rng::seeded(1));
        let [attempt, user, background] = [300, 3000, 3000].map(Duration::from_millis);
        app.stripe = app
            .stripe
            .map(|stripe| stripe.with_timeouts(Timeouts { attempt, user, background, ..Timeouts::default() }));
        let mut scene = Self { app: TestApp::of(app).await, api, faults, clock, told: 0, pod: String::new() };
        scene.hear().await;
        let mut pod = ajo();
        pod["maxMembers"] = json!(seats);
        pod["firstContributionDate"] = json!(day(14));
        let made = scene.press("user_1", "/api/pods", &pod).await;
        scene.pod = id_of(&made.json());
        scene
    }

    /// The application is told of all that happened at Stripe.
    async fn hear(&mut self) {
        let events = self.api.change(|stripe| stripe.events_since(self.told, ApiVersion::Endive));
        self.told = self.api.change(|stripe| stripe.occurrences.len());
        self.app.take_all(&events).await;
    }

    async fn press(&self, user: &str, path: &str, body: &Value) -> TestResponse {
        let request = self.app.client.req(Method::Post, path.to_owned()).header(signed_in(user, "user"));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    async fn join(&self, user: &str) -> TestResponse {
        self.press(user, &format!("/api/pods/{}/join", self.pod), &json!({})).await
    }

    async fn leave(&self, user: &str) -> TestResponse {
        self.press(user, &format!("/api/pods/{}/leave", self.pod), &json!({})).await
    }

    /// Stripe's statuses of the subscriptions of the pod.
    fn at_stripe(&self) -> Vec<&'static str> {
        self.api.change(|stripe| stripe.subscriptions.values().map(|row| row.status.text()).collect())
    }

    async fn shown(&self) -> Value {
        let path = format!("/api/admin/pods/{}", self.pod);
        self.app.as_user(Method::Get, &path, &signed_in("ada", "admin")).await.json()
    }

    async fn members(&self) -> i64 {
        self.shown().await["memberCount"].as_i64().unwrap()
    }

    /// What was asked of Stripe, by its keys.
    fn keys(&self) -> Vec<String> {
        self.api.changes().into_iter().filter_map(|asked| asked.key).collect()
    }
}

fn customer_of(stripe: &Stripe, user: &str) -> String {
    stripe.customers.values().find(|one| one.metadata["user_id"] == user).unwrap().id.clone()
}

/// Good for some years.
pub(super) fn signed_in(user: &str, role: &str) -> Header<'static> {
    let claims = json!({ "sub": user, "role": role, "exp": START + 1000 * DAY });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

#[test]
fn who_joins_has_a_subscription_and_a_seat() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_seats(db, 3).await;
        let joined = scene.join("user_2").await;
        let membership = joined.json()["membership"].clone();
        assert_eq!((joined.status, &membership["status"]), (201, &json!("active")), "{joined:?}");
        assert_eq!((&joined.json()["pending"], &membership["subscriptionStatus"]), (&json!(false), &json!("trialing")));
        let (pod, id) = (&scene.pod, id_of(&membership));
        let keys = ["product", "price"].map(|what| format!("tollgate:{pod}:{what}"));
        assert_eq!(scene.keys(), [&keys[..], &[format!("tollgate:{id}:subscription")]].concat());
        let asked = scene.api.changes().pop().unwrap();
        let value = |name: &str| asked.value(name).map(str::to_owned);
        assert_eq!(value("trial_end"), Some((START + 14 * DAY).to_string()), "an anchor so far away Stripe refuses");
        assert_eq!(value("cancel_at"), Some((START + 35 * DAY).to_string()));
        assert_eq!(
            (value("proration_behavior").as_deref(), value("off_session").as_deref()),
            (Some("none"), Some("true"))
        );
        assert_eq!((value("metadata[membership_id]"), value("metadata[pod_id]")), (Some(id), Some(pod.clone())));

        scene.hear().await;
        assert_eq!(scene.join("user_2").await.status, 200, "a member already");
        assert_eq!(scene.join("user_3").await.status, 201);
        assert_eq!(scene.keys().len(), 4, "product and price are made once");
        assert_eq!((scene.at_stripe().len(), scene.members().await), (2, 2));
        let customer = scene.app.get("/v1/pods/mine?userId=user_2").await.json();
        assert_eq!(customer["data"][0]["pod"]["memberCount"], 2);
        let nobody = scene.join("user_9").await;
        assert_eq!(nobody.refusal(), (402, "payment_method_required".to_owned()));
    });
}

#[test]
fn the_last_seat_is_given_to_one_of_many() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::with_seats(db, 2).await;
        assert_eq!(scene.join("user_2").await.status, 201);
        let (one, two, three) = join!(scene.join("user_3"), scene.join("user_4"), scene.join("user_5"));
        let mut statuses = [one.status, two.status, three.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409]);
        assert_eq!((scene.at_stripe().len(), scene.members().await), (2, 2));
    });
}

#[test]
fn an_answer_that_is_lost_makes_no_second_subscription() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_seats(db, 3).await;
        assert_eq!(scene.join("user_2").await.status, 201);
        // Made, and the answer lost each time that it is asked for.
        scene.api.fault(&[Fault::AnswerLost, Fault::Silent, Fault::Silent]);
        let lost = scene.join("user_3").await;
        assert_eq!(lost.refusal(), (504, "stripe_timeout".to_owned()));
        assert_eq!((scene.at_stripe().len(), scene.members().await), (2, 2), "its seat is held");
        let again = scene.join("user_3").await;
        assert_eq!((again.status, &again.json()["membership"]["status"]), (201, &json!("active")), "{again:?}");
        assert_eq!((scene.at_stripe().len(), scene.members().await), (2, 2));
        // Nobody tries again, and the event comes.
        scene.api.fault(&[Fault::AnswerLost, Fault::Silent, Fault::Silent]);
        assert_eq!(scene.join("user_4").await.status, 504);
        scene.hear().await;
        let memberships = scene.shown().await["memberships"].clone();
        let statuses: Vec<_> = memberships.as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
        assert_eq!(statuses, ["active", "active", "active"]);
        // What Stripe cannot do now is no refusal.
        scene.api.fail(&[429]);
        assert_eq!(scene.join("user_5").await.refusal().0, 409, "the pod is full");
    });
}

#[test]
fn who_lost_a_seat_finds_what_stripe_made() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::with_seats(db, 3).await;
        assert_eq!(scene.join("user_2").await.status, 201);
        scene.api.fault(&[Fault::AnswerLost, Fault::Silent, Fault::Silent]);
        assert_eq!(scene.join("user_3").await.status, 504);
        scene.clock.advance(Duration::from_secs(2 * 3600));
        assert_eq!(scene.members().await, 1, "an hour later it is gone");
        let again = scene.join("user_3").await;
        assert_eq!((again.status, scene.at_stripe().len(), scene.members().await), (201, 2, 2), "{again:?}");
    });
}

#[test]
fn what_stripe_did_and_we_could_not_write_comes_with_its_event() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_seats(db, 4).await;
        assert_eq!(scene.join("user_2").await.status, 201);
        let before = scene.faults.counted().len();
        assert_eq!(scene.join("user_3").await.status, 201);
        let operations = scene.faults.counted().split_off(before);
        let begins = operations.iter().enumerate().filter(|(_, operation)| **operation == Operation::Begin);
        // The last two transactions are what Stripe answered, and what is shown.
        let begins: Vec<_> = begins.map(|(index, _)| index).collect();
        let written = begins[begins.len() - 2];
        scene.faults.arm(written + 1, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
        let pending = scene.join("user_4").await;
        assert!(!scene.faults.is_armed(), "it was to be written");
        assert_eq!((pending.status, &pending.json()["pending"]), (202, &json!(true)), "{pending:?}");
        scene.hear().await;
        let again = scene.join("user_4").await;
        assert_eq!((again.status, &again.json()["membership"]["status"]), (200, &json!("active")));
        assert_eq!((scene.at_stripe().len(), scene.members().await), (3, 3));
    });
}

#[test]
fn who_leaves_before_the_first_date_gives_the_seat_back() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_seats(db, 2).await;
        assert_eq!(scene.leave("user_2").await.refusal(), (404, "not_found".to_owned()));
        let id = id_of(&scene.join("user_2").await.json()["membership"]);
        let left = scene.leave("user_2").await;
        assert_eq!((left.status, &left.json()["membership"]["status"]), (200, &json!("canceled")), "{left:?}");
        assert_eq!((scene.at_stripe(), scene.members().await), (vec!["canceled"], 0));
        assert_eq!(scene.keys().pop(), Some(format!("tollgate:{id}:leave:1")));
        scene.hear().await;
        assert_eq!(scene.join("user_2").await.status, 201, "and may come again");

        let path = format!("/api/pods/{}/cancel", scene.pod);
        assert_eq!(scene.press("user_1", &path, &json!({})).await.json()["status"], "canceled");
        assert_eq!(owed::run(&scene.app.inner).await, Ok(1));
        assert_eq!(scene.at_stripe(), ["canceled", "canceled"]);
        assert_eq!(owed::run(&scene.app.inner).await, Ok(0), "once");
    });
}

#[test]
fn who_pays_in_another_currency_is_told_so_and_holds_no_seat() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_seats(db, 2).await;
        scene.api.change(|stripe| {
            let customer = customer_of(stripe, "user_2");
            stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        });
        scene.hear().await;
        assert_eq!(scene.join("user_2").await.refusal(), (409, "currency_conflict".to_owned()));
        assert_eq!((scene.at_stripe(), scene.members().await), (vec!["active"], 0));
        // Another refusal of Stripe's says nothing of currencies.
        scene.api.fault(&[Fault::Status(400)]);
        assert_eq!(scene.join("user_3").await.status, 502);
        assert_eq!(scene.members().await, 0);
        assert_eq!(scene.join("user_3").await.status, 201);
    });
}

#[test]
fn who_is_gone_at_stripe_is_told_so_and_holds_no_seat() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_seats(db, 2).await;
        scene.api.change(|stripe| {
            let customer = customer_of(stripe, "user_2");
            stripe.delete_customer(&customer);
        });
        assert_eq!(scene.join("user_2").await.refusal(), (404, "no_customer".to_owned()));
        assert_eq!((scene.at_stripe(), scene.members().await), (vec![], 0));
        scene.hear().await;
        assert_eq!(scene.join("user_2").await.refusal(), (402, "payment_method_required".to_owned()));
    });
}
