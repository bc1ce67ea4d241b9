//! Tokens under the keys of an issuer that rolls them, is slow, or is not there.

use std::convert::Infallible;
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tollgate_shared::Secrets;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::http::auth::token::TokenKeys;
use crate::testing::sign_token;

const NOW: i64 = 1_750_000_000;

/// Longer than any test takes: whoever waits for so long waits for nothing.
const PATIENCE: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Timestamp {
    from_unix(NOW + seconds).unwrap()
}

/// What an issuer does when its keys are asked for.
#[derive(Clone)]
enum Does {
    Publishes(Vec<Value>),
    Says(u16, Vec<u8>),
    /// Nothing, until it is told to go on.
    Hangs,
}

/// Somebody who signs tokens.
struct Issuer {
    url: Url,
    does: watch::Sender<Does>,
    asked: watch::Receiver<usize>,
}

impl Issuer {
    async fn with(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap()).parse().unwrap();
        let (does, told) = watch::channel(does);
        let (count, asked) = watch::channel(0);
        let count = Arc::new(count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, count) = (told.clone(), count.clone());
                let answer = service_fn(move |_: Request<Incoming>| {
                    let mut told = told.clone();
                    count.send_modify(|count| *count += 1);
                    async move {
                        let does = told.wait_for(|does| !matches!(does, Does::Hangs)).await.unwrap().clone();
                        let (status, body) = match does {
                            Does::Publishes(keys) => (200, json!({ "keys": keys }).to_string().into_bytes()),
                            Does::Says(status, body) => (status, body),
                            Does::Hangs => unreachable!("it was told to go on"),
                        };
                        let response = Response::builder().status(status).header("location", "/elsewhere");
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { url, does, asked }
    }

    fn now(&self, does: Does) {
        self.does.send_replace(does);
    }

    fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    fn keys(&self) -> TokenKeys {
        let jwks = Jwks::at(self.url.clone()).unwrap();
        TokenKeys::new(&Secrets::parse("a secret").unwrap(), Some(jwks), None, None)
    }
}

/// A key of an issuer.
enum Signer {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Self {
        let key = include_str!("../../../../../tests/auth_rsa_key.pk8.base64").trim();
        Self::Rsa(RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(key).unwrap()).unwrap())
    }

    fn ecdsa() -> Self {
        let (algorithm, rng) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        Self::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &rng).unwrap())
    }

    fn ed25519() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ecdsa(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// As it is published.
    fn jwk(&self, kid: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(key) => {
                let rsa::PublicKeyComponents { n, e }: rsa::PublicKeyComponents<Vec<u8>> = key.public().into();
                json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": encode(&n), "e": encode(&e) })
            }
            Self::Ecdsa(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "kid": kid, "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519(key) => {
                let x = encode(key.public_key().as_ref());
                json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "key_ops": ["verify"], "x": x })
            }
        }
    }

    fn signed(&self, header: &Value) -> String {
        let claims = json!({ "sub": "user_1", "exp": NOW + 1_000_000 });
        let [header, claims] = [header, &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let rng = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &rng, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ecdsa(key) => key.sign(&rng, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, kid: &str) -> String {
        self.signed(&json!({ "alg": self.algorithm(), "kid": kid }))
    }
}

async fn read(keys: &TokenKeys, token: &str, seconds: i64) -> Result<(), TokenError> {
    timeout(PATIENCE, keys.read(token, at(seconds))).await.expect("it ends").map(drop)
}

#[tokio::test]
async fn tokens_under_each_kind_of_public_key_are_read() {
    let signers = [("a", Signer::rsa()), ("b", Signer::ecdsa()), ("c", Signer::ed25519())];
    let issuer = Issuer::with(Does::Publishes(signers.iter().map(|(kid, key)| key.jwk(kid)).collect())).await;
    let keys = issuer.keys();
    for (kid, signer) in &signers {
        assert_eq!(read(&keys, &signer.token(kid), 0).await, Ok(()), "{}", signer.algorithm());
        let nameless = signer.signed(&json!({ "alg": signer.algorithm() }));
        assert_eq!(read(&keys, &nameless, 0).await, Ok(()), "{}", signer.algorithm());
        let mut changed = signer.token(kid).into_bytes();
        let middle = changed.iter().position(|byte| *byte == b'.').unwrap() + 5;
        changed[middle] ^= 1;
        assert!(read(&keys, str::from_utf8(&changed).unwrap(), 0).await.is_err(), "{}", signer.algorithm());
    }
    assert_eq!(issuer.asked(), 1, "they are kept");
    // Others of each kind.
    for (kid, signer) in [("b", Signer::ecdsa()), ("c", Signer::ed25519())] {
        assert_eq!(read(&keys, &signer.token(kid), 0).await, Err(TokenError::WrongKey), "{}", signer.algorithm());
    }
}

#[tokio::test]
async fn a_key_is_never_used_with_another_algorithm() {
    let (rsa, ecdsa) = (Signer::rsa(), Signer::ecdsa());
    let jwk = rsa.jwk("a");
    let oct = json!({ "kty": "oct", "kid": "o", "k": URL_SAFE_NO_PAD.encode("a published secret") });
    let issuer = Issuer::with(Does::Publishes(vec![jwk.clone(), ecdsa.jwk("b"), oct])).await;
    let keys = issuer.keys();
    // The public key, in whatever form, as the secret of an HMAC: the classic.
    let claims = json!({ "sub": "user_1", "exp": NOW + 60 });
    let modulus = jwk["n"].as_str().unwrap();
    for secret in [modulus, &jwk.to_string(), "a published secret", ""] {
        for kid in ["a", "o"] {
            let token = sign_token(&json!({ "alg": "HS256", "kid": kid }), &claims, secret);
            assert_eq!(read(&keys, &token, 0).await, Err(TokenError::WrongKey), "{kid}");
        }
    }
    for (signer, algorithm, kid) in
        [(&rsa, "ES256", "a"), (&rsa, "EdDSA", "a"), (&ecdsa, "RS256", "b"), (&rsa, "RS256", "b")]
    {
        let token = signer.signed(&json!({ "alg": algorithm, "kid": kid }));
        assert_eq!(read(&keys, &token, 0).await, Err(TokenError::WrongKey), "{algorithm} {kid}");
    }
    for algorithm in ["RS384", "RS512", "PS256", "ES384"] {
        let token = rsa.signed(&json!({ "alg": algorithm, "kid": "a" }));
        assert_eq!(read(&keys, &token, 0).await, Err(TokenError::WrongAlgorithm), "{algorithm}");
    }
    let token = rsa.signed(&json!({ "alg": "RS256", "kid": "a", "crit": ["x"] }));
    assert_eq!(read(&keys, &token, 0).await, Err(TokenError::Critical));
}

#[tokio::test]
async fn a_key_that_is_not_for_signing_signs_nobody_in() {
    let signer = Signer::ecdsa();
    let with = |name: &str, value: Value| {
        let mut jwk = signer.jwk("a");
        jwk[name] = value;
        jwk
    };
    let good = with("alg", json!("ES256"));
    for (is_good, jwk) in [
        (true, good),
        (false, with("use", json!("enc"))),
        (false, with("alg", json!("ES384"))),
        (false, with("crv", json!("P-384"))),
        (false, with("key_ops", json!(["sign"]))),
        (false, with("kid", json!("b"))),
        (false, with("kty", json!(null))),
        (false, with("x", json!("AAAA"))),
    ] {
        // Beside one that can be used: one that cannot spoils no set.
        let issuer = Issuer::with(Does::Publishes(vec![jwk.clone(), Signer::ed25519().jwk("other")])).await;
        assert_eq!(read(&issuer.keys(), &signer.token("a"), 0).await.is_ok(), is_good, "{jwk}");
    }
}

#[tokio::test]
async fn a_key_that_was_rolled_is_fetched_when_it_is_named() {
    let (old, new) = (Signer::ed25519(), Signer::ecdsa());
    let issuer = Issuer::with(Does::Publishes(vec![old.jwk("old")])).await;
    let keys = issuer.keys();
    assert_eq!(read(&keys, &old.token("old"), 0).await, Ok(()));
    issuer.now(Does::Publishes(vec![new.jwk("new")]));
    // Anybody may name a key: it is not asked for at each.
    assert_eq!(read(&keys, &new.token("new"), 29).await, Err(TokenError::WrongKey));
    assert_eq!(issuer.asked(), 1);
    let (old_token, new_token) = (old.token("old"), new.token("new"));
    let at_once = (0..20).map(|_| read(&keys, &new_token, 31));
    assert!(join_all(at_once).await.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(), 2, "once for all who wait");
    assert_eq!(read(&keys, &old_token, 31).await, Err(TokenError::WrongKey), "it was withdrawn");
}

#[tokio::test]
async fn while_the_issuer_is_away_its_last_keys_count() {
    let signer = Signer::ed25519();
    let issuer = Issuer::with(Does::Publishes(vec![signer.jwk("a")])).await;
    let keys = issuer.keys();
    assert_eq!(read(&keys, &signer.token("a"), 0).await, Ok(()));
    for broken in [Does::Says(503, b"{}".to_vec()), Does::Says(200, b"{\"keys\":[]}".to_vec())] {
        issuer.now(broken);
        let asked = issuer.asked();
        let seconds = 100 * asked as i64;
        assert_eq!(read(&keys, &signer.token("b"), seconds).await, Err(TokenError::WrongKey));
        assert_eq!(issuer.asked(), asked + 1);
        assert_eq!(read(&keys, &signer.token("a"), seconds).await, Ok(()));
    }
    let day = 24 * 3600;
    assert_eq!(read(&keys, &signer.token("a"), day - 1).await, Ok(()));
    assert_eq!(read(&keys, &signer.token("a"), day).await, Err(TokenError::NoKeys));
    issuer.now(Does::Publishes(vec![signer.jwk("a")]));
    assert_eq!(read(&keys, &signer.token("a"), day + 5).await, Ok(()));
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_gives_no_keys() {
    let signer = Signer::ed25519();
    let set = |keys: Value| json!({ "keys": keys }).to_string().into_bytes();
    let too_long = set(json!([signer.jwk("a"), { "kty": "x", "filler": "a".repeat(BYTES_MAX) }]));
    for (why, does) in [
        ("a redirect", Does::Says(302, set(json!([signer.jwk("a")])))),
        ("an error", Does::Says(404, set(json!([signer.jwk("a")])))),
        ("no JSON", Does::Says(200, b"<html>".to_vec())),
        ("no set", Does::Says(200, b"[]".to_vec())),
        ("no list", Does::Says(200, set(json!({})))),
        ("no key of ours", Does::Says(200, set(json!([{ "kty": "oct", "k": "AAAA" }, 5])))),
        ("too long", Does::Says(200, too_long)),
    ] {
        let issuer = Issuer::with(does).await;
        assert_eq!(read(&issuer.keys(), &signer.token("a"), 0).await, Err(TokenError::NoKeys), "{why}");
    }
}

#[tokio::test]
async fn a_slow_issuer_holds_up_nobody_whose_key_is_known() {
    let signer = Signer::ed25519();
    let issuer = Issuer::with(Does::Publishes(vec![signer.jwk("a")])).await;
    let keys = Arc::new(issuer.keys());
    assert_eq!(read(&keys, &signer.token("a"), 0).await, Ok(()));
    issuer.now(Does::Hangs);
    let (waiting, is_over) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let stranger = tokio::spawn({
        let (keys, token, waiting, is_over) = (keys.clone(), signer.token("b"), waiting.clone(), is_over.clone());
        async move {
            let answer = read(&keys, &token, 60).await;
            *is_over.lock().unwrap() = Some(answer);
            waiting.notify_one();
        }
    });
    issuer.asked.clone().wait_for(|asked| *asked == 2).await.unwrap();
    assert_eq!(read(&keys, &signer.token("a"), 60).await, Ok(()));
    assert_eq!(*is_over.lock().unwrap(), None, "the other one still waits");
    issuer.now(Does::Publishes(vec![signer.jwk("a"), signer.jwk("b")]));
    waiting.notified().await;
    stranger.await.unwrap();
    assert_eq!(*is_over.lock().unwrap(), Some(Ok(())));
}

#[tokio::test]
async fn an_issuer_that_is_not_there_makes_us_say_so() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let jwks = Jwks::at(format!("http://{unused}/").parse().unwrap()).unwrap();
    let keys = TokenKeys::new(&Secrets::parse("a secret").unwrap(), Some(jwks), None, None);
    assert_eq!(read(&keys, &Signer::ed25519().token("a"), 0).await, Err(TokenError::NoKeys));
    let by_secret = sign_token(&json!({ "alg": "HS256" }), &json!({ "exp": NOW + 60 }), "a secret");
    assert_eq!(read(&keys, &by_secret, 0).await, Ok(()), "who needs none of them is let in");
}
