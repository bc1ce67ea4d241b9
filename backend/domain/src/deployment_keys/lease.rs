//! The key that signs leases: Ed25519 (RFC 8032), in JSON Web Signatures (RFC 8037).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::KEY_BYTES;

/// What leases are signed with. An app that has its public half can tell a lease of ours without asking us.
pub struct LeaseKey {
    pair: Ed25519KeyPair,
    jwk: Jwk,
}

/// The public half, as a JSON Web Key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
    x: String,
}

/// What names the key and how it signs, before each signed token.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

const KEY_TYPE: &str = "OKP";
const CURVE: &str = "Ed25519";
const ALGORITHM: &str = "EdDSA";

impl LeaseKey {
    pub(crate) fn of_seed(seed: &[u8; KEY_BYTES]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed of Ed25519");
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
        let jwk = Jwk { kty: KEY_TYPE, crv: CURVE, alg: ALGORITHM, r#use: "sig", kid: thumbprint(&x), x };
        Self { pair, jwk }
    }

    /// Its name: the thumbprint of its public half (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// Its public half.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// `claims` as a signed JSON Web Token.
    pub fn sign(&self, claims: &impl Serialize) -> String {
        let header = json_part(&Header { alg: ALGORITHM, typ: "JWT", kid: self.kid() });
        let message = format!("{header}.{}", json_part(claims));
        let signature = self.signature(&message);
        format!("{message}.{signature}")
    }

    fn signature(&self, message: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()))
    }
}

fn json_part(part: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD
        .encode(serde_json::to_vec(part).expect("texts, numbers and maps with text keys are always JSON"))
}

fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"{CURVE}","kty":"{KEY_TYPE}","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

impl fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseKey({})", self.kid())
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};
    use serde_json::json;

    use super::*;

    /// RFC 8037, appendix A.
    fn known() -> LeaseKey {
        let seed = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        LeaseKey::of_seed(&seed.try_into().unwrap())
    }

    #[test]
    fn the_public_half_and_its_name_are_those_of_rfc_8037() {
        let expected = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        assert_eq!(serde_json::to_value(known().jwk()).unwrap(), expected);
    }

    #[test]
    fn a_signature_is_that_of_rfc_8037() {
        let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert_eq!(
            known().signature(message),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn a_token_names_its_key_and_can_be_checked_with_the_public_half() {
        let key = known();
        let token = key.sign(&json!({ "sub": "lic_1" }));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, decode(&key.jwk().x));
        public.verify(message.as_bytes(), &decode(signature)).unwrap();
        assert!(public.verify(b"another", &decode(signature)).is_err());

        let (header, claims) = message.split_once('.').unwrap();
        let json = |part: &str| serde_json::from_slice::<serde_json::Value>(&decode(part)).unwrap();
        assert_eq!(json(header), json!({ "alg": "EdDSA", "typ": "JWT", "kid": key.kid() }));
        assert_eq!(json(claims), json!({ "sub": "lic_1" }));
    }

    #[test]
    fn a_key_shows_its_name_alone() {
        assert_eq!(format!("{:?}", known()), "LeaseKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)");
    }
}
