//! Seats of a pod, wanted by more than there are, by two backends at once; and a process that dies while somebody joins.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::Clock;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_tests::http::Response;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::model::Status;
use tollgate_tests::stripe::rest::{Api, Endpoint, Fault, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, DAY, Stripe};
use tollgate_tests::wait::{LONG, SOON, wait_until};
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine};

/// How many want a seat, and how many seats there are for them.
const USERS: usize = 50;
const SEATS: usize = 3;

struct Scene {
    stack: Stack,
    api: Api,
    users: usize,
}

impl Scene {
    /// Users who can pay, known to a stack of so many backends.
    async fn of(engine: Engine, backends: usize, users: usize) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = Clock::system().now().timestamp() - DAY;
        for number in 0..users {
            let customer = stripe.sign_up("ada@example.com", "Ada", Some(&user(number)));
            stripe.change_card(&customer, "visa", "4242");
        }
        let api = Api::start(&stripe).await;
        let config = StackConfig { backends, ..StackConfig::on(engine) };
        let config = config.backend("STRIPE_SECRET_KEY", SECRET_KEY).backend("STRIPE_API_BASE", &api.base);
        let stack = Stack::spawn(config.backend("STRIPE_RATE_LIMIT", "1000")).await;
        stack.deliver_all(&stripe.events(ApiVersion::Endive), 16).await;
        stack.settled_within(LONG).await;
        api.keeps_time();
        Self { stack, api, users }
    }

    /// What happens at Stripe is told from now on.
    fn deliver(&self) {
        self.api.deliver_to(Endpoint::new(&self.stack.public(WEBHOOK_PATH), &self.stack.secrets.webhook));
    }

    async fn press(&self, user: &str, path: &str, body: &Value) -> Option<Response> {
        let bearer = self.stack.bearer(user);
        let headers = [JSON, ("authorization", bearer.as_str())];
        self.stack.http.try_send(Method::POST, &self.stack.public(path), &headers, body.to_string()).await.ok()
    }

    /// A pod of so many seats that begins in two weeks.
    async fn pod(&self, seats: usize) -> String {
        let first = from_unix(Clock::system().now().timestamp() + 14 * DAY).expect("it is this century");
        let pod = json!({
            "name": "Ajo", "amount": 5000, "currency": "NGN", "cadence": "weekly", "maxMembers": seats,
            "contributionsTotal": 3, "firstContributionDate": rfc3339(first),
        });
        let made = self.press("user_0", "/api/pods", &pod).await.expect("it is answered");
        assert_eq!(made.status, 201, "{}", made.error_code());
        made.json()["id"].as_str().expect("it has an id").to_owned()
    }

    async fn join(&self, pod: &str, number: usize) -> u16 {
        let answer = self.press(&user(number), &format!("/api/pods/{pod}/join"), &json!({})).await;
        answer.map_or(0, |answer| answer.status)
    }

    /// The same of somebody who names what is paid with.
    async fn join_by(&self, pod: &str, user: &str, card: &str) -> u16 {
        let answer = self.press(user, &format!("/api/pods/{pod}/join"), &json!({ "paymentMethodId": card })).await;
        answer.map_or(0, |answer| answer.status)
    }

    /// Everybody at once.
    async fn all_join(&self, pod: &str) -> Vec<u16> {
        join_all((0..self.users).map(|number| self.join(pod, number))).await
    }

    /// As operators see it.
    async fn shown(&self, pod: &str) -> Value {
        self.stack.operate(Method::GET, &format!("/api/admin/pods/{pod}"), &json!({})).await.json()
    }

    /// The members of a pod by their subscriptions, and the subscriptions that go on at Stripe.
    async fn members(&self, pod: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let shown = self.shown(pod).await;
        let memberships = shown["memberships"].as_array().expect("operators see them").clone();
        let active = memberships.iter().filter(|row| row["status"] == "active");
        let here = active.map(|row| row["subscriptionId"].as_str().expect("it is active").to_owned()).collect();
        let there = self.api.change(|stripe| {
            let of_pod =
                stripe.subscriptions.values().filter(|row| row.metadata.get("pod_id").map(String::as_str) == Some(pod));
            of_pod.filter(|row| row.status != Status::Canceled).map(|row| row.id.clone()).collect()
        });
        (here, there)
    }

    /// There are as many members as seats, and as many subscriptions; the same ones.
    async fn assert_full(&self, pod: &str, seats: usize) {
        let (here, there) = self.members(pod).await;
        assert_eq!((here.len(), there.len()), (seats, seats), "{here:?} {there:?}");
        assert_eq!(here, there);
    }
}

fn user(number: usize) -> String {
    format!("user_{number}")
}

on_each_engine!(the_last_seats_are_given_to_as_many_as_there_are, async |engine| {
    let scene = Scene::of(engine, 2, USERS).await;
    scene.deliver();
    let pod = scene.pod(SEATS).await;
    let answers = scene.all_join(&pod).await;
    let given = answers.iter().filter(|status| **status == 201).count();
    let refused = answers.iter().filter(|status| **status == 409).count();
    assert_eq!((given, refused), (SEATS, USERS - SEATS), "{answers:?}");
    scene.stack.settled_within(LONG).await;
    scene.assert_full(&pod, SEATS).await;
});

on_each_engine!(seats_are_given_once_where_stripe_stumbles, async |engine| {
    let scene = Scene::of(engine, 2, USERS).await;
    scene.deliver();
    let pod = scene.pod(SEATS).await;
    // Product and price are made by each of the first, and then subscriptions: whatever comes meets one of these.
    for _ in 0..4 {
        let faults =
            [Fault::AnswerLost, Fault::Status(429), Fault::Status(500), Fault::Status(500), Fault::Status(500)];
        for fault in faults {
            scene.api.fault_after(1, &[fault]);
        }
    }
    // Whoever was told that it could not be done now tries again; the seat is theirs.
    for _ in 0..20 {
        let answers = scene.all_join(&pod).await;
        if answers.iter().all(|status| matches!(status, 200 | 409)) {
            break;
        }
    }
    scene.api.recover();
    let answers = scene.all_join(&pod).await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), SEATS, "{answers:?}");
    scene.stack.settled_within(LONG).await;
    scene.assert_full(&pod, SEATS).await;
});

on_each_engine!(a_process_that_dies_while_somebody_joins_makes_no_second, async |engine| {
    let mut scene = Scene::of(engine, 1, 4).await;
    // It dies when the card was read, and then the customer made, the card made theirs, the product made, the price, and the
    // subscription.
    for calls in 1..=6 {
        let newcomer = format!("newcomer_{calls}");
        let card = scene.api.change(|stripe| stripe.card_of_nobody("visa", "4242"));
        let pod = scene.pod(2).await;
        scene.api.after(calls, scene.stack.backend().killer());
        assert_ne!(scene.join_by(&pod, &newcomer, &card).await, 201, "its process is dead");
        scene.stack.backend().kill();
        scene.stack.start().await;
        if calls > 1 {
            // The seat is held: there is one left for somebody else, and no more.
            let others = [scene.join(&pod, 3).await, scene.join(&pod, calls % 3).await];
            assert_eq!(others, [201, 409], "after {calls} calls");
        }
        assert_eq!(scene.join_by(&pod, &newcomer, &card).await, 201, "after {calls} calls");
        if calls == 1 {
            assert_eq!(scene.join(&pod, 3).await, 201);
        }
        scene.assert_full(&pod, 2).await;
        let customers = scene.api.change(|stripe| {
            let is_theirs = |id: &String| stripe.customers[id].metadata.get("user_id") == Some(&newcomer);
            stripe.customers.keys().filter(|id| is_theirs(id)).count()
        });
        assert_eq!(customers, 1, "after {calls} calls");
    }
    // Its seat is taken, and nothing was asked.
    let pod = scene.pod(2).await;
    scene.api.fault(&[Fault::Silent]);
    let kill = scene.stack.backend().killer();
    let member_count = async || scene.shown(&pod).await["memberCount"].clone();
    let is_seated = async || member_count().await == 1;
    let (_, ()) = tokio::join!(scene.join(&pod, 0), async {
        wait_until("the seat is taken", SOON, is_seated).await;
        kill();
    });
    scene.stack.backend().kill();
    scene.stack.start().await;
    assert_eq!([scene.join(&pod, 1).await, scene.join(&pod, 2).await, scene.join(&pod, 0).await], [201, 409, 201]);
    scene.assert_full(&pod, 2).await;
    // Nobody tries again, and the event comes.
    let pod = scene.pod(2).await;
    assert_eq!(scene.join(&pod, 3).await, 201);
    scene.api.after(1, scene.stack.backend().killer());
    assert_ne!(scene.join(&pod, 0).await, 201);
    scene.stack.backend().kill();
    scene.stack.start().await;
    let events = scene.api.change(|stripe| stripe.events(ApiVersion::Endive));
    scene.stack.deliver_all(&events, 16).await;
    scene.stack.settled_within(LONG).await;
    scene.assert_full(&pod, 2).await;
});
