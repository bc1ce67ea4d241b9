//! The API, its pages and its webhooks, as a merchant's server and its buyers meet them.

mod packages;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response as Reply};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;
use tollgate_shared::signing::Verifier;
use tollgate_shared::{Clock, Secret};

use super::*;
use crate::http::{Http, Response};
use crate::stripe::catalogue::{PRO_FOR_GOOD, PRO_MONTHLY};
use crate::stripe::model::Status;
use crate::stripe::{BEGINNING, Checkout, DAY};

const SECRET: &str = "whsec_1";

struct Merchant {
    api: Api,
    http: Http,
    /// What came to the endpoint: `type signature`, and how it is answered from now on.
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Default)]
struct Inbox {
    came: Vec<(String, String, Bytes)>,
    /// The next answers; then 200.
    statuses: VecDeque<u16>,
}

impl Merchant {
    async fn with(stripe: &Stripe) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let taking = Arc::clone(&inbox);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inbox = Arc::clone(&taking);
                let take = service_fn(move |request: Request<Incoming>| take(Arc::clone(&inbox), request));
                tokio::spawn(async move {
                    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), take).await
                });
            }
        });
        let api = Api::start(stripe).await;
        api.deliver_to(Endpoint::new(&url, SECRET));
        Self { api, http: Http::default(), inbox }
    }

    async fn new() -> Self {
        Self::with(&Stripe::fresh()).await
    }

    async fn send(&self, method: Method, path: &str, key: Option<&str>, form: &[(&str, &str)]) -> Response {
        let authorization = format!("Bearer {SECRET_KEY}");
        let mut headers = vec![
            ("authorization", &*authorization),
            ("stripe-version", "2026-10-28.endive"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let escape = |text: &str| {
            let hex = text.bytes().map(|byte| hex::encode_upper([byte]));
            hex.fold(String::new(), |escaped, byte| escaped + "%" + &byte)
        };
        let pairs: Vec<_> = form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        let (query, body) = if method == Method::GET {
            (format!("?{}", pairs.join("&")), String::new())
        } else {
            (String::new(), pairs.join("&"))
        };
        self.http.send(method, &format!("{}{path}{query}", self.api.base), &headers, body).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let response = self.send(Method::POST, path, None, form).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()
    }

    async fn get(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let response = self.send(Method::GET, path, None, form).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()
    }

    /// `status code param` of a refusal.
    async fn refused(&self, path: &str, form: &[(&str, &str)]) -> String {
        let response = self.send(Method::POST, path, None, form).await;
        let error = &response.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", response.status, text("code"), text("param"))
    }

    async fn session(&self, more: &[(&str, &str)]) -> (String, String) {
        let plain = [
            ("mode", "subscription"),
            ("line_items[0][price]", PRO_MONTHLY.id),
            ("line_items[0][quantity]", "1"),
            ("success_url", "https://shop.example.com/in?s={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "https://shop.example.com/out"),
        ];
        let is_given = |name: &str| more.iter().any(|(given, _)| *given == name);
        let form: Vec<_> = plain.into_iter().filter(|(name, _)| !is_given(name)).chain(more.iter().copied()).collect();
        let session = self.post("/v1/checkout/sessions", &form).await;
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        let path = text("url").strip_prefix(&self.api.base).unwrap().to_owned();
        (text("id"), path)
    }

    /// What a page says to a form: its status, and where it sends whoever sent that, or its text.
    async fn press(&self, path: &str, form: &[(&str, &str)]) -> (u16, String) {
        let response = self.send(Method::POST, path, None, form).await;
        let to = response.header("location").map(str::to_owned);
        (response.status, to.unwrap_or_else(|| String::from_utf8_lossy(&response.body).into_owned()))
    }

    fn came(&self) -> Vec<String> {
        self.inbox.lock().unwrap().came.iter().map(|(event_type, ..)| event_type.clone()).collect()
    }
}

async fn take(inbox: Arc<Mutex<Inbox>>, request: Request<Incoming>) -> hyper::Result<Reply<Full<Bytes>>> {
    let header = request.headers()["stripe-signature"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let event: Value = serde_json::from_slice(&body).unwrap();
    let mut inbox = inbox.lock().unwrap();
    inbox.came.push((event["type"].as_str().unwrap().to_owned(), header, body));
    let status = inbox.statuses.pop_front().unwrap_or(200);
    Ok(Reply::builder().status(status).body(Full::default()).unwrap())
}

/// Panics unless `body` was signed with this secret, among others.
fn is_signed(secret: &str, header: &str, body: &[u8]) {
    Verifier::new(&Secret::new(secret).into()).verify(header, body, Clock::system().now()).unwrap();
}

fn subscriber() -> (Stripe, String, String) {
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
    (stripe, customer, subscription)
}

const CARD: (&str, &str) = ("card", "4242 4242 4242 4242");
const EMAIL: (&str, &str) = ("email", "ada@example.com");

#[tokio::test]
async fn a_buyer_comes_back_to_a_shop_that_knows() {
    let merchant = Merchant::new().await;
    let (id, path) = merchant.session(&[("subscription_data[metadata][user_id]", "user_1")]).await;
    let page = merchant.http.get(&format!("{}{path}", merchant.api.base), &[]).await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("Pro") && text.contains("29.00 USD"), "{text}");
    let (status, to) = merchant.press(&path, &[EMAIL, CARD]).await;
    assert_eq!((status, to), (303, format!("https://shop.example.com/in?s={id}")));
    assert_eq!(merchant.came().last().map(String::as_str), Some("checkout.session.completed"));
    let session = merchant.get(&format!("/v1/checkout/sessions/{id}"), &[("expand[]", "subscription")]).await;
    assert_eq!((&session["status"], &session["payment_status"]), (&"complete".into(), &"paid".into()));
    assert_eq!(session["subscription"]["metadata"]["user_id"], "user_1");
    assert_eq!(session["subscription"]["status"], "active");
    assert_eq!(session["url"], Value::Null);
    let again = merchant.press(&path, &[EMAIL, CARD]).await;
    assert!(again.1.contains("This was paid for."), "{again:?}");
    for (_, header, body) in &merchant.inbox.lock().unwrap().came {
        is_signed(SECRET, header, body);
    }
}

#[tokio::test]
async fn a_card_that_is_declined_buys_nothing_and_another_does() {
    let merchant = Merchant::new().await;
    let (id, path) = merchant.session(&[("allow_promotion_codes", "true")]).await;
    for (card, said) in [
        ("4000000000000002", "Your card was declined."),
        ("4000 0000 0000 9995", "Your card has insufficient funds."),
        ("4242 4242 4242 4241", "Your card number is invalid."),
        ("", "Type in a card."),
    ] {
        let (status, page) = merchant.press(&path, &[EMAIL, ("card", card)]).await;
        assert!(status == 200 && page.contains(said), "{page}");
    }
    let wrong = merchant.press(&path, &[EMAIL, CARD, ("promotion_code", "\"><script>")]).await.1;
    assert!(wrong.contains("This code is invalid.") && !wrong.contains("<script"), "{wrong}");
    assert_eq!(merchant.came(), Vec::<String>::new());
    // The bank asks; who says no has bought nothing.
    let asking = [EMAIL, ("card", "4000002760003184"), ("promotion_code", "welcome20")];
    assert!(merchant.press(&path, &asking).await.1.contains("really you"));
    let refused = [&asking[..], &[("bank", "refused")]].concat();
    assert!(merchant.press(&path, &refused).await.1.contains("unable to authenticate"));
    let confirmed = [&asking[..], &[("bank", "confirmed")]].concat();
    assert_eq!(merchant.press(&path, &confirmed).await.0, 303);
    let session = merchant.get(&format!("/v1/checkout/sessions/{id}"), &[("expand[0]", "invoice")]).await;
    assert_eq!((&session["amount_subtotal"], &session["amount_total"]), (&2900.into(), &2320.into()));
    assert_eq!(session["invoice"]["amount_paid"], 2320);
}

#[tokio::test]
async fn free_days_cost_nothing_and_are_paid_for_after() {
    let merchant = Merchant::new().await;
    let (id, path) = merchant.session(&[("subscription_data[trial_period_days]", "14")]).await;
    assert_eq!(merchant.press(&path, &[EMAIL, ("card", "4000000000000341")]).await.0, 303);
    let read = || merchant.get("/v1/checkout/sessions", &[("expand[0]", "data.subscription.latest_invoice")]);
    let session = read().await["data"][0].clone();
    assert_eq!((&session["id"], &session["amount_total"]), (&Value::from(id), &0.into()));
    assert_eq!(session["subscription"]["status"], "trialing");
    merchant.api.change(|stripe| {
        stripe.advance(15 * DAY);
    });
    let subscription = read().await["data"][0]["subscription"].clone();
    assert_eq!(
        (&subscription["status"], &subscription["latest_invoice"]["status"]),
        (&"past_due".into(), &"open".into())
    );
    merchant.api.delivered().await;
    assert!(merchant.came().contains(&"customer.subscription.trial_will_end".to_owned()));
}

#[tokio::test]
async fn what_is_bought_for_good_is_paid_once() {
    let merchant = Merchant::new().await;
    let for_good = [("mode", "payment"), ("line_items[0][price]", PRO_FOR_GOOD.id)];
    let (id, path) = merchant.session(&[&for_good[..], &[("customer_creation", "always")]].concat()).await;
    assert_eq!(merchant.press(&path, &[EMAIL, CARD]).await.0, 303);
    let session = merchant
        .get(&format!("/v1/checkout/sessions/{id}"), &[("expand[]", "customer"), ("expand[]", "payment_intent")])
        .await;
    assert_eq!(
        (&session["customer"]["email"], &session["payment_intent"]["amount_received"]),
        (&"ada@example.com".into(), &39900.into())
    );
    let (guest, path) = merchant.session(&for_good).await;
    assert_eq!(merchant.press(&path, &[EMAIL, CARD]).await.0, 303);
    assert_eq!(merchant.get(&format!("/v1/checkout/sessions/{guest}"), &[]).await["customer"], Value::Null);
}

#[tokio::test]
async fn a_session_can_be_gone_through_for_a_day() {
    let merchant = Merchant::new().await;
    let (late, path) = merchant.session(&[]).await;
    merchant.api.change(|stripe| {
        stripe.advance(DAY);
    });
    assert_eq!(merchant.press(&path, &[EMAIL, CARD]).await.0, 410);
    assert_eq!(merchant.get(&format!("/v1/checkout/sessions/{late}"), &[]).await["status"], "expired");
    let (given_up, path) = merchant.session(&[]).await;
    merchant.post(&format!("/v1/checkout/sessions/{given_up}/expire"), &[]).await;
    assert_eq!(merchant.press(&path, &[EMAIL, CARD]).await.0, 410);
    merchant.api.delivered().await;
    assert_eq!(merchant.came(), ["checkout.session.expired"; 2]);
}

#[tokio::test]
async fn in_the_portal_cards_are_changed_and_subscriptions_end() {
    let (mut stripe, customer, subscription) = subscriber();
    stripe.begin_unpaid_period(&subscription);
    let merchant = Merchant::with(&stripe).await;
    let form = [("customer", &*customer), ("return_url", "https://shop.example.com/")];
    let session = merchant.post("/v1/billing_portal/sessions", &form).await;
    let path = session["url"].as_str().unwrap().strip_prefix(&merchant.api.base).unwrap().to_owned();
    let declined = merchant.press(&path, &[("act", "card"), ("card", "4000000000000002")]).await.1;
    assert!(declined.contains("Your card was declined.") && declined.contains("···· 4242"), "{declined}");
    let changed = merchant.press(&path, &[("act", "card"), ("card", "5555555555554444")]).await.1;
    assert!(changed.contains("mastercard ···· 4444"), "{changed}");
    let owed = stripe.latest_invoice(&subscription);
    assert!(merchant.press(&path, &[("act", "pay"), ("of", &owed)]).await.1.contains("it is paid"));
    let of = ("of", &*subscription);
    assert!(merchant.press(&path, &[("act", "cancel"), of]).await.1.contains("ends with its period"));
    let read = || merchant.api.change(|stripe| stripe.subscriptions[&subscription].clone());
    assert_eq!((read().status, read().cancel_at), (Status::Active, Some(read().items[0].period.end)));
    merchant.press(&path, &[("act", "keep"), of]).await;
    assert_eq!(read().cancel_at, None);
    let stranger = merchant.api.change(|stripe| {
        let other = stripe.sign_up("eve@example.com", "Eve", None);
        stripe.checkout(&other, &Checkout::default()).0
    });
    merchant.press(&path, &[("act", "cancel"), ("of", &stranger)]).await;
    assert_eq!(merchant.api.change(|stripe| stripe.subscriptions[&stranger].cancel_at), None, "another's");
}

#[tokio::test]
async fn a_webhook_comes_again_until_it_is_taken() {
    let merchant = Merchant::new().await;
    merchant.inbox.lock().unwrap().statuses = [500, 302, 404].into();
    merchant.api.change(|stripe| stripe.sign_up("ada@example.com", "Ada", None));
    merchant.api.delivered().await;
    assert_eq!(merchant.came(), ["customer.created"; 4]);
    merchant.api.roll_secret("whsec_2");
    merchant.api.change(|stripe| stripe.sign_up("bob@example.com", "Bob", None));
    merchant.api.delivered().await;
    let (_, header, body) = merchant.inbox.lock().unwrap().came.last().cloned().unwrap();
    for secret in [SECRET, "whsec_2"] {
        is_signed(secret, &header, &body);
    }
}

#[tokio::test]
async fn webhooks_are_lost_doubled_and_shuffled_on_demand() {
    let merchant = Merchant::new().await;
    merchant.api.deliver_badly(Mishaps { lost: 0.3, twice: 0.3, shuffled: true });
    let told = 40;
    for number in 0..told {
        merchant.api.change(|stripe| stripe.sign_up(&format!("{number}@example.com"), "Ada", None));
    }
    merchant.api.delivered().await;
    let bodies: Vec<_> = merchant.inbox.lock().unwrap().came.iter().map(|(.., body)| body.clone()).collect();
    let ids: BTreeSet<_> = bodies.iter().collect();
    assert!(ids.len() < told && ids.len() < bodies.len(), "{} of {told}, {} times", ids.len(), bodies.len());
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    let listed = merchant.get("/v1/events", &[("limit", "100"), ("type", "customer.*")]).await;
    let listed: Vec<_> = listed["data"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(listed.len(), told, "none is lost there");
    let mut came: Vec<_> = bodies.iter().map(|body| id(&serde_json::from_slice(body).unwrap())).collect();
    came.dedup();
    let places: Vec<_> = came.iter().map(|id| listed.iter().position(|listed| listed == id)).collect();
    assert!(!places.is_sorted_by(|first, second| first >= second), "{places:?}");
}

#[tokio::test]
async fn lists_come_page_by_page_the_newest_first() {
    let merchant = Merchant::new().await;
    let made: Vec<_> = (0..25)
        .map(|number| {
            merchant.api.change(|stripe| {
                let id = stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
                stripe.pass(60);
                id
            })
        })
        .collect();
    let ids = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let mut form = vec![("limit", "10")];
        form.extend(last.as_deref().map(|last| ("starting_after", last)));
        let page = merchant.get("/v1/customers", &form).await;
        seen.extend(ids(&page));
        last = seen.last().cloned();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, made.iter().rev().cloned().collect::<Vec<_>>());
    let before = merchant.get("/v1/customers", &[("limit", "3"), ("ending_before", &made[0])]).await;
    assert_eq!(
        (ids(&before), &before["has_more"]),
        (vec![made[3].clone(), made[2].clone(), made[1].clone()], &true.into())
    );
    let (from, to) = ((BEGINNING + 60).to_string(), (BEGINNING + 240).to_string());
    let some = merchant
        .get("/v1/events", &[("created[gte]", &from), ("created[lt]", &to), ("types[]", "customer.created")])
        .await;
    let named: Vec<_> =
        some["data"].as_array().unwrap().iter().map(|event| event["data"]["object"]["id"].as_str().unwrap()).collect();
    assert_eq!(named, [&made[3], &made[2], &made[1]]);
    let one = &some["data"][0];
    assert_eq!(&merchant.get(&format!("/v1/events/{}", one["id"].as_str().unwrap()), &[]).await, one);
    merchant.api.change(|stripe| {
        stripe.pass(31 * DAY);
    });
    assert_eq!(ids(&merchant.get("/v1/events", &[]).await), Vec::<String>::new(), "they are listed for thirty days");
    let nobody = merchant.send(Method::GET, "/v1/customers", None, &[("starting_after", "cus_nobody")]).await;
    assert_eq!(nobody.status, 400);
}

#[tokio::test]
async fn a_key_is_good_for_one_call_and_answers_it_again() {
    let merchant = Merchant::new().await;
    let post =
        async |email: &str| merchant.send(Method::POST, "/v1/customers", Some("key_1"), &[("email", email)]).await;
    let (first, again) = (post("ada@example.com").await, post("ada@example.com").await);
    assert_eq!((first.json(), again.header("idempotent-replayed")), (again.json(), Some("true")));
    let other = post("bob@example.com").await;
    assert_eq!((other.status, &other.json()["error"]["type"]), (400, &"idempotency_error".into()));
    assert_eq!(merchant.api.change(|stripe| stripe.customers.len()), 1);
}

#[tokio::test]
async fn what_cannot_be_is_refused_as_stripe_does() {
    let (stripe, customer, subscription) = subscriber();
    let merchant = Merchant::with(&stripe).await;
    let path = format!("/v1/subscriptions/{subscription}");
    for (path, form, said) in [
        (&*path, &[("coupon", "x")][..], "400 parameter_unknown coupon"),
        (&path, &[("items[0][price]", "price_nothing")], "400 resource_missing items[0][price]"),
        (&path, &[("items[0][id]", "si_nothing")], "400 resource_missing items[0][id]"),
        (&path, &[("proration_date", "1")], "400 - proration_date"),
        ("/v1/subscriptions/sub_nothing", &[], "404 resource_missing id"),
        ("/v1/subscriptions", &[("customer", "cus_nothing")], "400 resource_missing customer"),
        ("/v1/subscriptions", &[("customer", &customer)], "400 parameter_missing items[0][price]"),
        ("/v1/checkout/sessions", &[("mode", "payment")], "400 parameter_missing success_url"),
        ("/v1/nothing", &[], "404 - -"),
    ] {
        assert_eq!(merchant.refused(path, form).await, said, "{path} {form:?}");
    }
    let stranger = merchant.http.get(&format!("{}/v1/events", merchant.api.base), &[]).await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn cards_decline_calls_with_a_reason() {
    let merchant = Merchant::new().await;
    let customer = merchant.post("/v1/customers", &[EMAIL]).await["id"].as_str().unwrap().to_owned();
    let attach = "/v1/payment_methods/pm_card_visa_chargeDeclined/attach";
    assert_eq!(merchant.refused(attach, &[("customer", &customer)]).await, "402 card_declined -");
    let order = [("customer", &*customer), ("items[0][price]", PRO_MONTHLY.id)];
    let or_nothing = [&order[..], &[("payment_behavior", "error_if_incomplete")]].concat();
    assert_eq!(merchant.refused("/v1/subscriptions", &or_nothing).await, "400 resource_missing -");
    let card = merchant.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", &[("customer", &customer)]).await;
    let card = card["id"].as_str().unwrap();
    let with_card =
        [&order[..], &[("default_payment_method", card), ("expand[0]", "latest_invoice.payments")]].concat();
    let tried = merchant.post("/v1/subscriptions", &with_card).await;
    assert_eq!((&tried["status"], &tried["latest_invoice"]["attempt_count"]), (&"incomplete".into(), &1.into()));
    assert_eq!(tried["latest_invoice"]["payments"]["data"][0]["status"], "open");
    let good = merchant.post("/v1/payment_methods/pm_card_visa/attach", &[("customer", &customer)]).await;
    let path = format!("/v1/subscriptions/{}", tried["id"].as_str().unwrap());
    merchant.post(&path, &[("default_payment_method", good["id"].as_str().unwrap())]).await;
    let invoice = tried["latest_invoice"]["id"].as_str().unwrap();
    assert_eq!(merchant.post(&format!("/v1/invoices/{invoice}/pay"), &[]).await["status"], "paid");
    assert_eq!(merchant.get(&path, &[]).await["status"], "active");
}

#[tokio::test]
async fn whoever_plays_stripe_lets_time_pass_and_calls_fail() {
    let (stripe, _, subscription) = subscriber();
    let merchant = Merchant::with(&stripe).await;
    let press = async |form: &[(&str, &str)]| merchant.press("/", form).await;
    let at_first = merchant.api.change(|stripe| stripe.now);
    assert_eq!(press(&[("act", "advance"), ("days", "30")]).await.0, 200);
    assert_eq!(press(&[("act", "next")]).await.0, 200);
    let (now, invoices) = merchant.api.change(|stripe| (stripe.now, stripe.invoices.len()));
    assert_eq!((now - at_first, invoices), (30 * DAY + 3600, 2), "the renewal's draft is paid after an hour");
    assert_eq!(press(&[("act", "fail"), ("how", "503"), ("calls", "2")]).await.0, 200);
    let path = format!("/v1/subscriptions/{subscription}");
    for status in [503, 503, 200] {
        assert_eq!(merchant.send(Method::GET, &path, None, &[]).await.status, status);
    }
    assert_eq!(press(&[("act", "deliver"), ("lost", "1")]).await.0, 200);
    merchant.api.delivered().await;
    let came = merchant.came().len();
    merchant.api.change(|stripe| stripe.sign_up("bob@example.com", "Bob", None));
    merchant.api.delivered().await;
    assert_eq!(merchant.came().len(), came);
    assert!(press(&[("act", "roll")]).await.1.contains("whsec_"));
    for wrong in [&[("act", "fly")][..], &[("act", "advance"), ("days", "-1")], &[("act", "fail"), ("how", "200")]] {
        assert_eq!(press(wrong).await.0, 400, "{wrong:?}");
    }
}
