//! A key set as it was published, read leniently: what we cannot use is somebody else's.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The keys of a set that a signature may be checked with.
pub(super) struct KeySet(Vec<Key>);

struct Key {
    kid: Option<String>,
    /// Its type has one algorithm: a key is never used with another.
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A key (RFC 7517, RFC 7518, RFC 8037), as far as we read it.
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys in `body` that can be used; `None` when there are none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut set: Value = serde_json::from_slice(body).ok()?;
        let Value::Array(keys) = set.get_mut("keys")?.take() else { return None };
        let readable = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys: Vec<_> = readable.filter_map(|key: Published| key.usable()).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of `algorithm` that are called `kid`; all of `algorithm` where no name is given.
    pub(super) fn of(&self, algorithm: Algorithm, kid: Option<&str>) -> Vec<DecodingKey> {
        let is_named = |key: &&Key| kid.is_none() || key.kid.as_deref() == kid;
        self.0.iter().filter(|key| key.algorithm == algorithm).filter(is_named).map(|key| key.key.clone()).collect()
    }
}

impl Published {
    fn usable(self) -> Option<Key> {
        let decode = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let (algorithm, name, key) = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (decode(&self.n)?, decode(&self.e)?);
                // Some write the sign of the number too, which ring refuses.
                let n = &n[n.iter().position(|byte| *byte != 0)?..];
                (Algorithm::RS256, "RS256", DecodingKey::from_rsa_raw_components(n, &e))
            }
            ("EC", Some("P-256")) => {
                let (x, y) =
                    (<[u8; 32]>::try_from(decode(&self.x)?).ok()?, <[u8; 32]>::try_from(decode(&self.y)?).ok()?);
                // An uncompressed point.
                (Algorithm::ES256, "ES256", DecodingKey::from_ec_der(&[&[4][..], &x, &y].concat()))
            }
            ("OKP", Some("Ed25519")) => {
                let x = <[u8; 32]>::try_from(decode(&self.x)?).ok()?;
                (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        // RFC 9864 calls the last one by its curve.
        let is_ours = self.alg.is_none_or(|alg| alg == name || (name == "EdDSA" && alg == "Ed25519"));
        let signs = self.purpose.is_none_or(|purpose| purpose == "sig")
            && self.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        (is_ours && signs).then_some(Key { kid: self.kid, algorithm, key })
    }
}
