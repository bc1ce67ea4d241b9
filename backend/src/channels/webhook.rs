//! A call to a server of the company's, signed by Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): the ones that it gets from
//! us are checked with any library of that name.

use std::fmt;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use sha2::Sha256;
use tollgate_shared::Timestamp;
use zeroize::Zeroizing;

use super::answer::{Answer, why_none};
use crate::http_client;

/// How long a server has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

const SECRET_PREFIX: &str = "whsec_";

/// Standard base64; a secret may have been copied without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What calls are signed with. `Debug` does not show it.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl SigningKey {
    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
        (!bytes.is_empty()).then(|| Self(Zeroizing::new(bytes)))
    }

    /// The `webhook-signature` of `body`, which is sent as `id` at `timestamp` (Unix seconds).
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        let mac = mac.chain_update(format!("{id}.{timestamp}.")).chain_update(body);
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Where calls go, and what they are signed with.
#[derive(Clone)]
pub struct WebhookConfig {
    /// `https://…`, or `http://…` on this machine.
    pub url: Url,
    /// The secret that its owner has, too.
    pub key: SigningKey,
}

impl fmt::Debug for WebhookConfig {
    /// Not its address, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookConfig(…)")
    }
}

/// A server that takes such calls.
#[derive(Debug)]
pub struct Webhook {
    config: WebhookConfig,
    http: Result<reqwest::Client, NoClient>,
}

/// No calls can be made from here.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoClient {
    /// The certificates of the authorities that this machine trusts cannot be read.
    #[error("this machine's certificate authorities cannot be read")]
    Authorities(#[source] io::Error),
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
}

/// A client that follows no redirect and waits for ten seconds.
pub(super) fn client(url: &Url) -> Result<reqwest::Client, NoClient> {
    let http = http_client::for_address(url).map_err(NoClient::Authorities)?;
    http.timeout(TIMEOUT).build().map_err(NoClient::Http)
}

impl Webhook {
    /// The server of a configuration. Connects to nobody.
    pub fn new(config: &WebhookConfig) -> Self {
        Self { http: client(&config.url), config: config.clone() }
    }

    /// Sends the JSON `body` as `id` (which is the same for each try), in ten seconds at most. An error says why there is no
    /// answer.
    pub async fn post(&self, id: &str, now: Timestamp, body: Vec<u8>) -> Result<Answer, String> {
        let http = self.http.as_ref().map_err(ToString::to_string)?;
        let timestamp = now.timestamp();
        let request = http
            .post(self.config.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.config.key.sign(id, timestamp, &body))
            .body(body);
        let response = request.send().await.map_err(|error| why_none(&error).to_owned())?;
        Ok(Answer::of(&response, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_as_the_standard_shows_it() {
        // The example of the standard's own libraries.
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_base64_after_its_prefix() {
        for good in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_YQ==", "whsec_YQ"] {
            assert!(SigningKey::parse(good).is_some(), "{good}");
        }
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?", "WHSEC_YQ=="] {
            assert!(SigningKey::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{:?}", SigningKey::parse("whsec_YQ==")), "Some(SigningKey(…))");
    }
}
