//! Where a request comes from, for limits that each client has to itself.

use std::net::{IpAddr, Ipv6Addr};

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use tollgate_shared::relay_proof::{self, RELAY_PROOF_HEADER};

use crate::app::App;
use crate::http::auth::INTERNAL_KEY_HEADER;
use crate::http::endpoint::{Argument, Operation};

/// The header in which the relay says whose request it passes on.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address as the relay saw it; of IPv6 its /64, since whoever has one address of it usually has them all.
/// Whoever calls the backend itself and shows no key of the relay's is nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientNetwork(Option<IpAddr>);

impl ClientNetwork {
    /// Of an address.
    pub(crate) fn of(addr: IpAddr) -> Self {
        Self(Some(match addr.to_canonical() {
            IpAddr::V6(addr) => {
                let [a, b, c, d, ..] = addr.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        }))
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for ClientNetwork {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        let said = if is_of_the_relay(request) { only(request, FORWARDED_FOR) } else { None };
        Outcome::Success(said.and_then(|said| said.parse().ok()).map_or(Self(None), Self::of))
    }
}

/// Whether the request shows the relay's key, or what only its holder can make of it.
fn is_of_the_relay(request: &Request<'_>) -> bool {
    let keys = &App::of(request).config.intake_keys;
    let proves = |proof: &str| keys.map(relay_proof::of).matches(proof.as_bytes());
    only(request, RELAY_PROOF_HEADER).is_some_and(proves)
        || only(request, INTERNAL_KEY_HEADER).is_some_and(|key| keys.matches(key.as_bytes()))
}

/// The value of a header that is there once.
fn only<'r>(request: &'r Request<'_>, name: &str) -> Option<&'r str> {
    let mut values = request.headers().get(name);
    values.next().filter(|_| values.next().is_none())
}

impl Argument for ClientNetwork {
    fn describe(_: &mut Operation) {}
}

#[cfg(test)]
mod tests {
    use rocket::http::Header;
    use rocket::local::asynchronous::Client;
    use rocket::{get, routes};
    use tollgate_shared::Secret;

    use super::*;
    use crate::server;
    use crate::testing::{INTERNAL_KEY, TestApp, TestResponse, db_that_is_away};

    #[get("/network")]
    fn network(network: ClientNetwork) -> String {
        format!("{:?}", network.0)
    }

    async fn seen(variables: &[(&str, &str)], headers: &[(&'static str, &str)]) -> String {
        let app = TestApp::with(db_that_is_away(), variables).await;
        let rocket = server::rocket(app.inner.clone(), app.inbox.clone()).mount("/", routes![network]);
        let client = Client::untracked(rocket).await.unwrap();
        let mut request = client.get("/network");
        for (name, value) in headers {
            request.add_header(Header::new(*name, (*value).to_owned()));
        }
        TestResponse::of(request).await.body
    }

    fn proof(key: &str) -> String {
        relay_proof::of(&Secret::new(key)).expose().to_owned()
    }

    #[rocket::async_test]
    async fn the_relay_is_believed_by_its_proof_or_its_key() {
        let from = ("x-forwarded-for", "203.0.113.7");
        for shown in [(RELAY_PROOF_HEADER, &*proof(INTERNAL_KEY)), (INTERNAL_KEY_HEADER, INTERNAL_KEY)] {
            assert_eq!(seen(&[], &[from, shown]).await, "Some(203.0.113.7)");
        }
        let own = [("RELAY_INTERNAL_SECRET", "new-secret, old-secret")];
        for key in ["new-secret", "old-secret"] {
            assert_eq!(seen(&own, &[from, (RELAY_PROOF_HEADER, &proof(key))]).await, "Some(203.0.113.7)");
        }
        assert_eq!(seen(&own, &[from, (RELAY_PROOF_HEADER, &proof(INTERNAL_KEY))]).await, "None");
    }

    #[rocket::async_test]
    async fn nobody_else_is_believed_and_nor_is_what_is_no_address() {
        let good = proof(INTERNAL_KEY);
        let bad: [&[(&'static str, &str)]; 6] = [
            &[("x-forwarded-for", "203.0.113.7")],
            &[("x-forwarded-for", "203.0.113.7"), (RELAY_PROOF_HEADER, "forged")],
            &[("x-forwarded-for", "203.0.113.7"), (RELAY_PROOF_HEADER, INTERNAL_KEY)],
            &[("x-forwarded-for", "203.0.113.7"), (RELAY_PROOF_HEADER, &good), (RELAY_PROOF_HEADER, &good)],
            &[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "203.0.113.8"), (RELAY_PROOF_HEADER, &good)],
            &[("x-forwarded-for", "hunter2"), (RELAY_PROOF_HEADER, &good)],
        ];
        for headers in bad {
            assert_eq!(seen(&[], headers).await, "None", "{headers:?}");
        }
    }

    #[test]
    fn an_address_of_ipv6_counts_with_its_whole_network() {
        let of = |addr: &str| ClientNetwork::of(addr.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:203.0.113.7"), of("203.0.113.7"));
        assert_ne!(of("203.0.113.7"), of("203.0.113.8"));
    }
}
