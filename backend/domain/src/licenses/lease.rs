//! Leases: our signed word that a licence lets a machine work, until a time by which the app has to have asked again.
//!
//! An app that keeps its newest lease goes on through an outage of ours, or without a network, and no longer than that.
//! It checks the signature with a public key that it was built with, so that nobody in between can make a lease.

use chrono::{DateTime, Duration};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::deployment_keys::LeaseKey;
use crate::licenses::License;
use crate::plans::Plans;

/// How long leases are good for, where the licence does not end before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLength {
    /// Until its end.
    pub lasts: Duration,
    /// Until the app should ask for the next one.
    pub refresh_after: Duration,
}

/// What a lease is about.
#[derive(Clone, Copy, Debug)]
pub struct Leased<'a> {
    /// The licence, which lets the machine work.
    pub license: &'a License,
    /// What is on sale.
    pub plans: &'a Plans,
    /// `mac_…`
    pub machine_id: &'a str,
    /// What the app itself knows the machine by, as it sent it.
    pub fingerprint: &'a str,
    /// When the licence will end, as far as is known: with the grace of a payment that is overdue, or with a subscription
    /// whose end is announced.
    pub ends_at: Option<Timestamp>,
}

/// A lease as an app gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    token: String,
    refresh_at: String,
    expires_at: String,
}

/// What the token says. Times are seconds since the Unix epoch, as in any JSON Web Token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    refresh_at: i64,
    machine_id: &'a str,
    /// An app knows its own fingerprint and not the key that we hash it with: by this it can tell a lease of its own from
    /// one that was copied from another machine.
    fingerprint_sha256: String,
    status: &'a str,
    tier: &'a str,
    plan_id: Option<&'a str>,
    features: Map<String, Value>,
}

/// The lease of a machine at `now`; none where the licence has come to its end and only the event that says so is missing.
pub fn issue(now: Timestamp, key: &LeaseKey, length: LeaseLength, leased: Leased<'_>) -> Option<Lease> {
    let Leased { license, plans, machine_id, fingerprint, ends_at } = leased;
    let iat = now.timestamp();
    let longest = iat + length.lasts.num_seconds();
    let exp = ends_at.map_or(longest, |end| longest.min(end.timestamp()));
    if exp <= iat {
        return None;
    }
    // One that is cut short has to be asked for again before it ends, since what cuts it short may be put off.
    let halfway = if exp < longest { (exp - iat) / 2 } else { exp - iat };
    let refresh_at = iat + length.refresh_after.num_seconds().min(halfway);
    let plan = license.plan_id.as_deref().and_then(|id| plans.by_id(id));
    let token = key.sign(&Claims {
        sub: &license.id,
        iat,
        exp,
        refresh_at,
        machine_id,
        fingerprint_sha256: hex::encode(Sha256::digest(fingerprint)),
        status: &license.status,
        tier: &license.tier,
        plan_id: license.plan_id.as_deref(),
        features: plan.map(|plan| plan.features.clone()).unwrap_or_default(),
    });
    let time =
        |seconds| DateTime::from_timestamp(seconds, 0).map(rfc3339).expect("it is within a few years of the present");
    Some(Lease { token, refresh_at: time(refresh_at), expires_at: time(exp) })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::json;
    use tollgate_shared::clock::from_unix;

    use super::*;

    const NOW: i64 = 1_750_000_000;
    const HOUR: i64 = 3600;
    const LENGTH: LeaseLength = LeaseLength { lasts: Duration::hours(168), refresh_after: Duration::hours(24) };

    fn at(seconds: i64) -> Timestamp {
        from_unix(seconds).unwrap()
    }

    fn license() -> License {
        License {
            id: "lic_1".to_owned(),
            customer_id: "cus_1".to_owned(),
            key: "hunter2".to_owned(),
            status: "active".to_owned(),
            tier: "pro".to_owned(),
            plan_id: Some("pro_monthly".to_owned()),
            max_activations: 3,
            expires_at: None,
            revoked_at: None,
            last_seq: 0,
            created_at: at(0),
            grace_ends_at: None,
            cancels_at: None,
        }
    }

    fn issued(now: Timestamp, ends_at: Option<i64>) -> Option<Lease> {
        let plans = Plans::parse(
            r#"
            default_tier = "free"
            [[plan]]
            id = "pro_monthly"
            tier = "pro"
            name = "Pro"
            stripe_price = "price_1"
            features = { sync = true, seats = 3 }
            "#,
        );
        let license = license();
        let leased = Leased {
            license: &license,
            plans: &plans.unwrap(),
            machine_id: "mac_1",
            fingerprint: "a machine",
            ends_at: ends_at.map(at),
        };
        issue(now, &LeaseKey::of_seed(&[7; 32]), LENGTH, leased)
    }

    fn claims(lease: &Lease) -> Value {
        let claims = lease.token.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    }

    #[test]
    fn a_lease_says_all_that_an_app_needs_without_us() {
        let lease = issued(at(NOW) + Duration::microseconds(999_999), None).unwrap();
        let expected = json!({
            "sub": "lic_1",
            "iat": NOW,
            "exp": NOW + 168 * HOUR,
            "refreshAt": NOW + 24 * HOUR,
            "machineId": "mac_1",
            // In Python: hashlib.sha256(b"a machine").
            "fingerprintSha256": "cf31bfe26667114540e9c28a9f75a406ed35b77add22336b7497f2dc5cabfe54",
            "status": "active",
            "tier": "pro",
            "planId": "pro_monthly",
            "features": { "sync": true, "seats": 3 },
        });
        assert_eq!(claims(&lease), expected);
        assert_eq!(lease.refresh_at, "2025-06-16T15:06:40Z");
        assert_eq!(lease.expires_at, "2025-06-22T15:06:40Z");
    }

    #[test]
    fn a_lease_never_outlasts_its_licence() {
        let times = |ends_at| {
            let claims = claims(&issued(at(NOW), Some(ends_at)).unwrap());
            [&claims["refreshAt"], &claims["exp"]].map(|time| time.as_i64().unwrap() - NOW)
        };
        assert_eq!(times(NOW + 1000 * HOUR), [24 * HOUR, 168 * HOUR]);
        assert_eq!(times(NOW + 100 * HOUR), [24 * HOUR, 100 * HOUR]);
        assert_eq!(times(NOW + 10 * HOUR), [5 * HOUR, 10 * HOUR]);
        assert_eq!(times(NOW + 1), [0, 1]);
    }

    #[test]
    fn a_licence_whose_end_has_come_is_not_leased() {
        assert!(issued(at(NOW), Some(NOW)).is_none());
        assert!(issued(at(NOW), Some(NOW - HOUR)).is_none());
    }
}
