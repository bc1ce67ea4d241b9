//! Tokens by which a browser fetches a file that only who has a licence may have: a link takes no header.

use chrono::Duration;
use tollgate_shared::{Secret, Secrets, Timestamp};

use super::claims::TokenError;
use super::link::derived;
use super::mint::{self, Minted};
use super::token::TokenKeys;

/// How long a token is good.
const LASTS: Duration = Duration::minutes(10);

/// What the keys are derived for.
const PURPOSE: &str = "Tollgate: a download";

/// What such tokens are checked and made with.
pub(super) struct DownloadKeys {
    keys: TokenKeys,
    secret: Secret,
}

impl DownloadKeys {
    /// Those of `AUTH_SECRET`.
    pub(super) fn of(secrets: &Secrets) -> Self {
        let keys = TokenKeys::new(&secrets.map(|secret| derived(secret, PURPOSE)), None, None, None);
        Self { keys, secret: derived(secrets.first(), PURPOSE) }
    }

    /// A token for what a licence may have.
    pub(super) fn token(&self, license_id: &str, now: Timestamp) -> String {
        mint::sign(&self.secret, &Minted::new(license_id, None, now, LASTS))
    }

    /// The licence that `token` is for, if it is good at `now`.
    pub(super) async fn open(&self, token: &str, now: Timestamp) -> Result<String, TokenError> {
        let claims = self.keys.read(token, now).await?;
        claims.subject().map(str::to_owned).ok_or(TokenError::NoSubject)
    }
}
