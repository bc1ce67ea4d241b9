//! Stripe's API over HTTP, as far as we call it, with the pages that it sends customers to: in the version that a call
//! asks for, dated by Stripe's own clock. It refuses parameters that Stripe does not take, does once what comes twice
//! under one `Idempotency-Key`, tells its endpoints what happened, and fails on demand.

mod billing;
mod checkout;
mod clocks;
mod expand;
mod form;
mod invoices;
mod lists;
mod pages;
mod params;
mod refused;
mod server;
mod subscriptions;
#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tollgate_shared::Clock;

use self::clocks::TestClock;
use self::webhooks::Webhooks;
pub use self::webhooks::{Endpoint, Mishaps};
use super::Stripe;

/// The secret key of every account here.
pub const SECRET_KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

/// The API of one account.
pub struct Api {
    /// The value for `STRIPE_API_BASE`. Its pages are there, too.
    pub base: String,
    shared: Arc<Shared>,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and nothing is done.
    Status(u16),
    /// The same, with headers.
    StatusWith(u16, Vec<(&'static str, String)>),
    /// It is never answered, and nothing is done.
    Silent,
    /// It is done, and its answer is lost on the way.
    AnswerLost,
}

/// A call that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `POST /v1/subscriptions/sub_1`
    pub call: String,
    /// What was sent, as a form or a query.
    pub form: Vec<(String, String)>,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
    /// Its `Stripe-Version`.
    pub version: Option<String>,
}

impl Asked {
    /// The value that was sent for `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        form::get(&self.form, name)
    }
}

/// What is asked for, by a server or a browser, read as text.
struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    /// Query and body.
    form: Vec<(String, String)>,
}

impl Call {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The number that was sent for `name`.
fn number(asked: &Asked, name: &str) -> Option<i64> {
    asked.value(name).and_then(|value| value.parse().ok())
}

/// The account and all that is known of its API, for whoever answers, delivers and tests.
struct Shared {
    state: Mutex<State>,
    /// Rings when an endpoint has taken something.
    taken: Notify,
}

struct State {
    stripe: Stripe,
    /// By their ids. They have their own clocks, and tell nobody.
    connected: BTreeMap<String, Stripe>,
    /// How far its clock is ahead of the machine's, where it goes with that.
    keeps_time: Option<i64>,
    /// What becomes of the next calls; `None`: nothing goes wrong with that one.
    faults: VecDeque<Option<Fault>>,
    test_clock: Option<TestClock>,
    asked: Vec<Asked>,
    answered: BTreeMap<String, Answered>,
    webhooks: Webhooks,
    /// What happens when so many more calls are carried out.
    then: Option<(usize, Then)>,
    busy: Duration,
}

type Then = Box<dyn FnOnce() + Send>;

/// What came of a call under an `Idempotency-Key`.
#[derive(Clone)]
struct Answered {
    call: String,
    form: Vec<(String, String)>,
    status: u16,
    body: Value,
}

impl Api {
    /// Starts to answer for `stripe` as it is now, on a free port; ends with the runtime.
    pub async fn start(stripe: &Stripe) -> Self {
        Self::start_at(stripe, SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("there is a free port")
    }

    /// The same at an address.
    pub async fn start_at(stripe: &Stripe, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let mut stripe = stripe.clone();
        stripe.pages.clone_from(&base);
        let webhooks = Webhooks::after(stripe.occurrences.len());
        let state = State {
            stripe,
            connected: BTreeMap::new(),
            keeps_time: None,
            faults: VecDeque::new(),
            test_clock: None,
            asked: Vec::new(),
            answered: BTreeMap::new(),
            webhooks,
            then: None,
            busy: Duration::ZERO,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), taken: Notify::new() });
        tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { base, shared })
    }

    /// From here on it answers for `stripe` as it is now.
    pub fn is_now(&self, stripe: &Stripe) {
        let mut state = self.shared.lock();
        state.stripe = stripe.clone();
        state.stripe.pages.clone_from(&self.base);
        state.webhooks.begin_after(stripe.occurrences.len());
    }

    /// Lets something happen at Stripe, gives what `change` gives, and tells the endpoints.
    pub fn change<T>(&self, change: impl FnOnce(&mut Stripe) -> T) -> T {
        let mut state = self.shared.lock();
        let changed = change(&mut state.stripe);
        state.announce();
        changed
    }

    /// From here on it answers for the connected `account`, too, of which its caller names it by `Stripe-Account`.
    pub fn connect(&self, account: &str, stripe: &Stripe) {
        let mut stripe = stripe.clone();
        stripe.pages.clone_from(&self.base);
        self.shared.lock().connected.insert(account.to_owned(), stripe);
    }

    /// Lets something happen in a connected account.
    pub fn change_in<T>(&self, account: &str, change: impl FnOnce(&mut Stripe) -> T) -> T {
        change(self.shared.lock().connected.get_mut(account).expect("only an account that is connected is changed"))
    }

    /// From now on its clock goes with the machine's, and stands at the same time.
    pub fn keeps_time(&self) {
        {
            let mut state = self.shared.lock();
            state.keeps_time = Some(0);
            state.look_at_the_clock();
            state.announce();
        }
        tokio::spawn(server::keep_time(Arc::clone(&self.shared)));
    }

    /// Fails the next calls with these statuses.
    pub fn fail(&self, statuses: &[u16]) {
        self.shared.lock().faults.extend(statuses.iter().map(|status| Some(Fault::Status(*status))));
    }

    /// What goes wrong with the next calls.
    pub fn fault(&self, faults: &[Fault]) {
        self.shared.lock().faults.extend(faults.iter().cloned().map(Some));
    }

    /// What goes wrong after `calls` more calls.
    pub fn fault_after(&self, calls: usize, faults: &[Fault]) {
        self.shared.lock().faults.extend(vec![None; calls]);
        self.fault(faults);
    }

    /// How long it took over its answers so far.
    pub fn busy(&self) -> Duration {
        self.shared.lock().busy
    }

    /// Lets `then` happen as soon as `calls` more calls are carried out, before the last of them is answered.
    pub fn after(&self, calls: usize, then: impl FnOnce() + Send + 'static) {
        self.shared.lock().then = Some((calls, Box::new(then)));
    }

    /// Fails no more.
    pub fn recover(&self) {
        self.shared.lock().faults.clear();
    }

    /// The paths that were asked for, failed calls included.
    pub fn asked(&self) -> Vec<String> {
        let path = |asked: &Asked| asked.call.split_once(' ').map(|(_, path)| path.to_owned());
        self.shared.lock().asked.iter().filter_map(path).collect()
    }

    /// The calls that came in, failed ones included.
    pub fn calls(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// Those that change something.
    pub fn changes(&self) -> Vec<Asked> {
        self.calls().into_iter().filter(|asked| !asked.call.starts_with("GET ")).collect()
    }

    /// Delivers all that happens from now on to `endpoint`, signed, again and again until it is taken. Gives the
    /// endpoint's id.
    pub fn deliver_to(&self, endpoint: Endpoint) -> String {
        webhooks::register(&self.shared, &mut self.shared.lock(), endpoint)
    }

    /// Whether it happens by chance from now on that a webhook is lost, comes twice, or comes out of order.
    pub fn deliver_badly(&self, mishaps: Mishaps) {
        self.shared.lock().webhooks.mishaps = mishaps;
    }

    /// Signs with a new secret and, for a while, with the old one as well: until [`Api::forget_old_secrets`].
    pub fn roll_secret(&self, new: &str) {
        self.shared.lock().webhooks.roll_secrets(new);
    }

    /// Signs with the newest secret alone.
    pub fn forget_old_secrets(&self) {
        self.shared.lock().webhooks.forget_old_secrets();
    }

    /// Waits until the endpoints have taken all that was to be delivered to them.
    pub async fn delivered(&self) {
        self.shared.until(|state| state.webhooks.owed() == 0).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `holds`, which may change whenever an endpoint has taken something.
    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let taken = self.taken.notified();
            if holds(&self.lock()) {
                return;
            }
            taken.await;
        }
    }
}

impl State {
    fn count_down(&mut self) {
        if let Some((calls, _)) = &mut self.then {
            *calls -= 1;
        }
        if let Some((_, then)) = self.then.take_if(|(calls, _)| *calls == 0) {
            then();
        }
    }

    /// Where its clock goes with the machine's, lets so much time pass.
    fn look_at_the_clock(&mut self) {
        if let Some(ahead) = self.keeps_time {
            self.stripe.advance_to(Clock::system().now().timestamp() + ahead);
        }
    }

    /// Tells the endpoints what has happened since they were told last.
    fn announce(&mut self) {
        self.webhooks.announce(&self.stripe.occurrences);
    }
}
