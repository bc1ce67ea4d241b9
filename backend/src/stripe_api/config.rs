//! What the process is told of its side of Stripe: the `STRIPE_…` variables.

use std::collections::BTreeSet;

use reqwest::Url;
use tollgate_shared::Secret;
use tollgate_shared::env::Env;

/// The `STRIPE_…` variables.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// `STRIPE_SECRET_KEY`.
    pub secret_key: Option<Secret>,
    /// `STRIPE_API_BASE`.
    pub api_base: Url,
    /// Which mode's events are ours: `STRIPE_LIVEMODE`, else by the prefix of `STRIPE_SECRET_KEY`, else either.
    pub livemode: Option<bool>,
    /// `STRIPE_ACCOUNTS`: the connected accounts whose events are ours.
    pub accounts: BTreeSet<String>,
    /// `STRIPE_RATE_LIMIT`: how many calls a second this process makes.
    pub calls_per_second: u32,
}

/// A fifth of what Stripe takes in live mode, and less than in a sandbox (25).
const CALLS_PER_SECOND: u32 = 20;

impl StripeConfig {
    /// Reads them; a value that cannot be used is noted in `env`.
    pub(crate) fn from_env(env: &Env) -> Self {
        let secret_key = env.secret("STRIPE_SECRET_KEY");
        let livemode = env.parse("STRIPE_LIVEMODE", "`true` or `false`");
        Self {
            livemode: livemode.or_else(|| livemode_of_key(secret_key.as_ref()?)),
            secret_key,
            api_base: env
                .read("STRIPE_API_BASE", "an http:// or https:// address", http_url)
                .unwrap_or_else(|| Url::parse("https://api.stripe.com").expect("Stripe's address is one")),
            accounts: env
                .read("STRIPE_ACCOUNTS", "a comma-separated list of acct_…", |list| {
                    let accounts = list.split(',').map(str::trim).filter(|account| !account.is_empty());
                    accounts.map(|account| account.starts_with("acct_").then(|| account.to_owned())).collect()
                })
                .unwrap_or_default(),
            calls_per_second: env
                .read("STRIPE_RATE_LIMIT", "a number of calls a second from 1 to 1000", |text| {
                    text.parse().ok().filter(|calls| (1..=1000).contains(calls))
                })
                .unwrap_or(CALLS_PER_SECOND),
        }
    }
}

/// The mode that a key is of: `sk_live_…`, `rk_live_…` (restricted), `sk_test_…`, `rk_test_…`.
fn livemode_of_key(key: &Secret) -> Option<bool> {
    let kind = key.expose().split('_').nth(1)?;
    match kind {
        "live" => Some(true),
        "test" => Some(false),
        _ => None,
    }
}

/// An address that HTTP can be spoken to.
pub(crate) fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use crate::testing::config;

    #[test]
    fn our_mode_is_said_outright_or_by_the_keys_prefix() {
        let livemode = |variables: &[(&str, &str)]| config(variables).stripe.livemode;
        for (key, mode) in [
            ("sk_live_1", Some(true)),
            ("rk_live_1", Some(true)),
            ("sk_test_1", Some(false)),
            ("rk_test_1", Some(false)),
            ("anything", None),
        ] {
            assert_eq!(livemode(&[("STRIPE_SECRET_KEY", key)]), mode, "{key}");
        }
        assert_eq!(livemode(&[("STRIPE_SECRET_KEY", "sk_live_1"), ("STRIPE_LIVEMODE", "false")]), Some(false));
    }

    #[test]
    fn lists_are_read_with_their_blanks_left_out() {
        let accounts = config(&[("STRIPE_ACCOUNTS", " acct_1, acct_2,")]).stripe.accounts;
        assert_eq!(accounts.into_iter().collect::<Vec<_>>(), ["acct_1", "acct_2"]);
    }
}
