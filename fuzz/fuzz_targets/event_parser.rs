//! Any bytes as an event: nothing panics, what the edge takes is not refused, and what is kept of an object comes back.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tollgate_shared::EventHead;
use tollgate_stripe::{Event, Object};

fuzz_target!(|payload: &[u8]| {
    let Ok(event) = Event::parse(Bytes::copy_from_slice(payload)) else {
        assert!(EventHead::parse(payload).is_err(), "the edge takes what is refused here");
        return;
    };
    let Ok(Some(seen)) = event.observation() else { return };
    match seen.object {
        Object::Customer { after, before, .. } => {
            comes_back(&after);
            comes_back(&before);
        }
        Object::Subscription { after, before, .. } => {
            comes_back(&after);
            comes_back(&before);
        }
        Object::CheckoutSession(session, _) => comes_back(&session),
        Object::Invoice(invoice, _) => comes_back(&invoice),
        Object::InvoicePayment(payment) => comes_back(&payment),
        Object::PaymentIntent(intent) => comes_back(&intent),
        Object::PaymentMethod(method, _) => comes_back(&method),
        Object::Charge(charge) => comes_back(&charge),
        Object::Refund(refund) => comes_back(&refund),
        Object::Dispute(dispute) => comes_back(&dispute),
    }
});

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(kept: &T) {
    let json = serde_json::to_string(kept).expect("an object of ours is always JSON");
    assert_eq!(&serde_json::from_str::<T>(&json).expect("it was just written"), kept);
}
