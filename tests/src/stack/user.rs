//! Users of a stack, signed in as the company's own application does it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use tollgate_shared::Clock;

use super::Stack;

impl Stack {
    /// The value of `Authorization` for a user: a JWT under the stack's `AUTH_SECRET`, good for an hour.
    pub fn bearer(&self, user_id: &str) -> String {
        let secret = self.secrets.of("AUTH_SECRET");
        let claims = json!({ "sub": user_id, "exp": Clock::system().now().timestamp() + 3600 });
        let [header, claims] =
            [json!({ "alg": "HS256" }), claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
        let signature = mac.chain_update(&message).finalize().into_bytes();
        format!("Bearer {message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
