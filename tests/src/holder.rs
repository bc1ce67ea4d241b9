//! Somebody who has a licence, what happens to them, and whether their apps were told all of it, once and in order.

use serde_json::Value;

use crate::event_source::{EventSource, Told};
use crate::stack::Stack;
use crate::stripe::catalogue::PRO_MONTHLY;
use crate::stripe::{ApiVersion, Checkout, Stripe};

/// A customer with a licence.
#[derive(Debug)]
pub struct Holder {
    /// The account that they are a customer of; they are its only one.
    pub stripe: Stripe,
    /// `cus_…`
    pub customer: String,
    /// `sub_…`
    pub subscription: String,
    /// Their licence's key.
    pub key: String,
    /// How much of what happened Stripe has told.
    told: usize,
}

impl Holder {
    /// Somebody who has just paid for the plan `pro_monthly`.
    pub async fn of(stack: &Stack) -> Self {
        let mut stripe = Stripe::fresh();
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        let shown = stack.customer(&customer).await.expect("it is known");
        let key = shown["licenses"][0]["key"].as_str().expect("it has a licence").to_owned();
        let told = stripe.occurrences.len();
        Self { stripe, customer, subscription, key, told }
    }

    /// The stream of the licence's events, through the relay.
    pub fn url(&self, stack: &Stack) -> String {
        stack.public(&self.path())
    }

    /// The same at any other address.
    pub fn path(&self) -> String {
        format!("/api/events/{}", self.key)
    }

    /// Something happens to the subscription a minute later, and Stripe tells the relay.
    pub async fn goes_on(&mut self, stack: &Stack, happen: impl FnOnce(&mut Stripe, &str)) {
        happen(self.stripe.pass(60), &self.subscription);
        let events = self.stripe.events_since(self.told, ApiVersion::Endive);
        self.told = self.stripe.occurrences.len();
        stack.deliver_all(&events, 1).await;
    }

    /// Takes so many of what was bought: one event of which the apps are told.
    pub async fn takes(&mut self, stack: &Stack, quantity: i64) {
        self.goes_on(stack, |stripe, subscription| stripe.change_quantity(subscription, quantity)).await;
    }

    /// Reads until the app was told what is the newest in the log; each event once, in order, without a gap.
    pub async fn is_up_to_date(&self, stack: &Stack, source: &mut EventSource, after: &mut Told) {
        let expected = missed(stack, &self.key, after.id.as_deref().expect("a cursor")).await;
        for event in expected {
            let told = source.next_event().await;
            assert_eq!((told.seq(), &told.data), (after.seq() + 1, &event), "after {after:?}");
            *after = told;
        }
    }
}

/// Everything in the log of a licence after `cursor`, by its other route.
pub async fn missed(stack: &Stack, key: &str, cursor: &str) -> Vec<Value> {
    let (mut all, mut since) = (Vec::new(), cursor.to_owned());
    loop {
        let url = stack.public(&format!("/api/events/{key}/missed?limit=1000&since={since}"));
        let mut page = stack.http.get(&url, &[]).await.json();
        all.append(page["data"].as_array_mut().expect("a list"));
        if page["hasMore"] != true {
            return all;
        }
        page["nextCursor"].as_str().expect("a cursor").clone_into(&mut since);
    }
}
