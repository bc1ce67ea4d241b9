//! What users change at Stripe, against a stateful one, on both engines.

mod buttons;
mod checkout;
mod connected;
mod ends;
mod gone;
mod plans;
mod purchases;
mod subscribe;
mod sync;
mod trials;
mod twice;

use std::sync::Arc;
use std::time::Duration;

use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tokio::join;
use tollgate_db::{Db, DbError, Faults, Moment};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::PLANS;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY, Stripe};

use crate::app::App;
use crate::stripe_api::Timeouts;
use crate::testing::{
    AUTH_SECRET, START, TestApp, TestResponse, bearer, config_with_plans, db_that_is_away, sign_token, signed_in,
};

/// A subscriber, Stripe, and the application between them.
pub(super) struct Scene {
    pub(super) app: TestApp,
    pub(super) api: Api,
    pub(super) customer: String,
    pub(super) subscription: String,
    faults: Arc<Faults>,
    /// How much of what happened the application was told.
    told: usize,
}

impl Scene {
    /// `user_1` is subscribed, and the application knows.
    pub(super) async fn on(db: Db) -> Self {
        Self::with(db, &[]).await
    }

    /// The same, with some variables more.
    pub(super) async fn with(db: Db, variables: &[(&str, &str)]) -> Self {
        Self::selling(db, PLANS, variables).await
    }

    /// The same by other plans.
    pub(super) async fn selling(db: Db, plans: &str, variables: &[(&str, &str)]) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
        let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
        let api = Api::start(&stripe).await;
        let own = [
            ("STRIPE_SECRET_KEY", SECRET_KEY),
            ("STRIPE_API_BASE", &*api.base),
            ("STRIPE_RATE_LIMIT", "1000"),
            ("APP_URL", "https://app.example.com"),
        ];
        let config = Arc::new(config_with_plans(plans, &[&own, variables].concat()));
        let faults = Arc::new(Faults::default());
        let clock = Clock::manual(from_unix(START).unwrap());
        let mut app = App::new(config, db.with_faults(faults.clone()), clock, Rng::seeded(1));
        // What is asked again is asked at once.
        let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(1) };
        app.stripe = app.stripe.map(|stripe| stripe.with_timeouts(Timeouts { backoff, ..Timeouts::default() }));
        let mut scene = Self { app: TestApp::of(app).await, api, customer, subscription, faults, told: 0 };
        scene.hear().await;
        // From then on there is nothing new of the user to be written.
        assert_eq!(scene.app.see("/api/user/me").await.status, 200);
        scene
    }

    /// The application is told of all that happened at Stripe, by its events.
    pub(super) async fn hear(&mut self) {
        let events = self.api.change(|stripe| stripe.events_since(self.told, ApiVersion::Endive));
        self.told = self.api.change(|stripe| stripe.occurrences.len());
        self.app.take_all(&events).await;
    }

    /// The same application, which waits for Stripe for a moment only.
    pub(super) async fn impatient(&self) -> TestApp {
        let mut app = self.app.inner.clone();
        let [attempt, user] = [20, 60].map(Duration::from_millis);
        app.stripe = app.stripe.map(|stripe| stripe.with_timeouts(Timeouts { attempt, user, ..Timeouts::default() }));
        TestApp::of(app).await
    }

    pub(super) async fn press_as(&self, user: &str, path: &str, body: &Value, key: Option<&str>) -> TestResponse {
        press_on(&self.app, user, path, body, key).await
    }

    /// A POST of `user_1`.
    pub(super) async fn press(&self, path: &str, body: &Value) -> TestResponse {
        self.press_as("user_1", path, body, None).await
    }

    /// What an internal service reads of the customer.
    pub(super) async fn shown(&self) -> Value {
        self.app.get(&format!("/v1/customers/{}", self.customer)).await.json()
    }

    /// The audit log, oldest first: who, what, from, to, why.
    pub(super) async fn changes_by_user(&self) -> Vec<(String, Option<String>)> {
        let mut tx = self.app.inner.read().await.unwrap();
        tx.sql("SELECT change, reason FROM changes WHERE actor = 'user' ORDER BY number").all().await.unwrap()
    }

    /// How many events of this type the licence's log holds.
    pub(super) async fn told_apps(&self, event_type: &str) -> usize {
        let license = self.app.license_of(&self.customer).await;
        self.app.log_of(&license, event_type).await.len()
    }

    /// How often Stripe was asked to change something, and what it did of it.
    pub(super) fn asked_and_done(&self) -> (usize, usize) {
        (self.api.changes().len(), self.api.change(|stripe| stripe.occurrences.len()) - self.told)
    }
}

/// A POST of a user.
async fn press_on(app: &TestApp, user: &str, path: &str, body: &Value, key: Option<&str>) -> TestResponse {
    let mut request = app.client.req(Method::Post, path.to_owned()).header(signed_in_for_long(user));
    if let Some(key) = key {
        request = request.header(Header::new("idempotency-key", key.to_owned()));
    }
    TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
}

/// `Authorization` of a user for a year.
fn signed_in_for_long(user: &str) -> Header<'static> {
    let claims = json!({ "sub": user, "exp": START + 365 * DAY });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

/// Stripe's time, later.
pub(super) fn later(scene: &Scene) {
    scene.api.change(|stripe| {
        stripe.pass(60);
    });
}

pub(super) fn refusal(code: &str, status: u16) -> (u16, String) {
    (status, code.to_owned())
}
