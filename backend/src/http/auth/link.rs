//! Signing in by a link: to the account page, for users of a company that has no application to sign in at, and to the
//! console.
//!
//! A *link* holds a token that is good for minutes, and once; the page exchanges it for a *visit*: a token in a cookie of
//! ours. Each is a JWT under a key of its own that is derived from `AUTH_SECRET`, so that neither is a bearer token, and none
//! is good in place of the other.

use chrono::Duration;
use hkdf::Hkdf;
use reqwest::Url;
use rocket::http::{Cookie, SameSite};
use rocket::time::Duration as CookieAge;
use sha2::Sha256;
use tollgate_shared::{Rng, Secret, Secrets, Timestamp, ids};
use zeroize::Zeroizing;

use super::claims::{Claims, TokenError};
use super::mint::{self, Minted};
use super::token::TokenKeys;

/// How long a visit lasts: as long as a day's work.
pub const VISIT_LASTS: Duration = Duration::hours(12);

/// How long a link may be good for. That it was used is remembered for twice as long.
pub const LINK_LASTS_MAX: Duration = Duration::hours(12);

/// The cookie that a visit is in.
pub(super) const VISIT_COOKIE: &str = "tollgate_account";

/// Where the page is, below the relay's address.
pub const PAGE_PATH: &str = "/account";

/// Where the console is, below the backend's.
const CONSOLE_PATH: &str = "/console";

/// How long a link to the console is good for.
const CONSOLE_LINK_LASTS: Duration = Duration::minutes(5);

/// What keys are derived for.
const LINK: &str = "Tollgate: a link to the account page";
const VISIT: &str = "Tollgate: a visit of the account page";
const CONSOLE_LINK: &str = "Tollgate: a link to the console";

/// What links and visits are checked and made with.
pub(super) struct LinkKeys {
    links: TokenKeys,
    visits: TokenKeys,
    console_links: TokenKeys,
    /// What a new visit is signed with.
    visit_secret: Secret,
}

/// A link that may be exchanged, if it was not before.
#[derive(Debug)]
pub struct Link {
    /// Its own name.
    pub id: String,
    /// Whom it signs in: a user's id; at the console, a name.
    pub user_id: String,
    /// Their verified e-mail address.
    email: Option<String>,
}

impl LinkKeys {
    /// Those of `AUTH_SECRET`.
    pub(super) fn of(secrets: &Secrets) -> Self {
        let of = |purpose| TokenKeys::new(&secrets.map(|secret| derived(secret, purpose)), None, None, None);
        let visit_secret = derived(secrets.first(), VISIT);
        Self { links: of(LINK), visits: of(VISIT), console_links: of(CONSOLE_LINK), visit_secret }
    }

    /// The link that `token` is of, if it is good at `now`.
    pub(super) async fn open(&self, token: &str, now: Timestamp) -> Result<Link, TokenError> {
        Link::of(&self.links.read(token, now).await?)
    }

    /// The same of a link to the console.
    pub(super) async fn open_console(&self, token: &str, now: Timestamp) -> Result<Link, TokenError> {
        Link::of(&self.console_links.read(token, now).await?)
    }

    /// The visit that `link` is exchanged for, in its cookie.
    pub(super) fn begin_visit(&self, link: &Link, now: Timestamp, is_secure: bool) -> Cookie<'static> {
        let claims = Minted::new(&link.user_id, link.email.as_deref(), now, VISIT_LASTS);
        let token = mint::sign(&self.visit_secret, &claims);
        cookie(VISIT_COOKIE, token, VISIT_LASTS, is_secure)
    }

    /// What the visit `token` says at `now`.
    pub(super) async fn visit(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        self.visits.read(token, now).await
    }
}

/// The cookie that takes the place of a visit's, and is over.
pub(super) fn ended_visit(is_secure: bool) -> Cookie<'static> {
    cookie(VISIT_COOKIE, String::new(), Duration::zero(), is_secure)
}

impl Link {
    fn of(claims: &Claims) -> Result<Self, TokenError> {
        let text = |claim: Option<&str>| claim.map(str::to_owned).ok_or(TokenError::NoSubject);
        let email = claims.verified_email().map(str::to_owned);
        Ok(Self { id: text(claims.name_of_token())?, user_id: text(claims.subject())?, email })
    }
}

/// No script reads it, and no other site makes a browser send it.
pub(super) fn cookie(name: &'static str, token: String, lasts: Duration, is_secure: bool) -> Cookie<'static> {
    Cookie::build((name, token))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(is_secure)
        .max_age(CookieAge::seconds(lasts.num_seconds()))
        .build()
}

/// The address of a link that signs `user_id` in at the page of `public_url`, from `now` for `lasts`. The token is in the
/// fragment, which no browser sends, so that no log has it.
pub fn make(
    secrets: &Secrets,
    public_url: &Url,
    rng: &Rng,
    now: Timestamp,
    lasts: Duration,
    user: (&str, Option<&str>),
) -> Url {
    address(public_url, PAGE_PATH, &token(secrets, LINK, rng, (now, lasts), user))
}

/// The address of a link that signs an operator in at the console of the backend at `backend_url`, under a name, from `now`
/// for five minutes.
pub fn make_for_console(secrets: &Secrets, backend_url: &Url, rng: &Rng, now: Timestamp, name: &str) -> Url {
    let lasts = (now, CONSOLE_LINK_LASTS);
    address(backend_url, CONSOLE_PATH, &token(secrets, CONSOLE_LINK, rng, lasts, (name, None)))
}

fn token(
    secrets: &Secrets,
    purpose: &str,
    rng: &Rng,
    (now, lasts): (Timestamp, Duration),
    (subject, email): (&str, Option<&str>),
) -> String {
    let id = ids::new_id("lnk", now, rng);
    mint::sign(&derived(secrets.first(), purpose), &Minted::new(subject, email, now, lasts).named(&id))
}

fn address(base: &Url, path: &str, token: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(Some(&format!("link={token}")));
    url
}

pub(super) fn derived(secret: &Secret, purpose: &str) -> Secret {
    let mut key = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(None, secret.expose().as_bytes()).expand(purpose.as_bytes(), &mut *key);
    expanded.expect("so short a key can be derived");
    Secret::new(hex::encode(*key))
}
