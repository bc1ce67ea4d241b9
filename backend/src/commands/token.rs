//! `tollgate-backend token`: signs in as somebody, for development; or lets somebody sign in at the account page, by a link.

use anyhow::{Context as _, ensure};
use chrono::Duration;
use clap::{Args, ValueEnum};
use tollgate_shared::{Clock, Rng};

use crate::config::Config;
use crate::http::auth::link::{self, LINK_LASTS_MAX};
use crate::http::auth::mint::{self, Subject};

/// A year: a token cannot be taken back.
const SECONDS_MAX: i64 = 365 * 86_400;

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// The user's id
    #[arg(long)]
    sub: String,
    /// The user's e-mail address, as a verified one: whoever shows the token becomes the owner of unlinked customers that
    /// have it
    #[arg(long)]
    email: Option<String>,
    /// What the user may do
    #[arg(long, value_enum, default_value_t = Role::User)]
    role: Role,
    /// How long it is good for: 90s, 15m, 12h, 30d [default: 1h, of a link 15m]
    #[arg(long, value_parser = ttl)]
    ttl: Option<Duration>,
    /// Print the address of the account page with a token in it that signs the user in there, once
    #[arg(long, conflicts_with = "role")]
    link: bool,
}

/// How long a token is good for where nothing is said, and how long a link is.
const TOKEN_LASTS: Duration = Duration::hours(1);
const LINK_LASTS: Duration = Duration::minutes(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    User,
    Admin,
}

pub(super) fn run(config: &Config, arguments: &TokenArguments) -> anyhow::Result<()> {
    let TokenArguments { sub, email, role, ttl, link } = arguments;
    let (now, email) = (Clock::system().now(), email.as_deref());
    if *link {
        let public_url = config.public_url.as_ref().context("set PUBLIC_URL, the address where the account page is")?;
        let lasts = ttl.unwrap_or(LINK_LASTS);
        ensure!(lasts <= LINK_LASTS_MAX, "a link is good for {} hours at most", LINK_LASTS_MAX.num_hours());
        let url = link::make(&config.auth_secrets, public_url, &Rng::system(), now, lasts, (sub, email));
        println!("{url}");
        return Ok(());
    }
    let subject = Subject { id: sub, email, is_admin: *role == Role::Admin };
    println!("{}", mint::token(config, now, ttl.unwrap_or(TOKEN_LASTS), &subject));
    Ok(())
}

fn ttl(text: &str) -> Result<Duration, String> {
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let seconds = || {
        let seconds = unit(text.chars().next_back()?)?;
        let count: i64 = text[..text.len() - 1].parse().ok()?;
        count.checked_mul(seconds).filter(|seconds| (1..=SECONDS_MAX).contains(seconds))
    };
    seconds().map(Duration::seconds).ok_or_else(|| "a number with s, m, h or d: up to 365d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_token_lasts_is_a_number_and_a_unit() {
        let seconds = |text: &str| ttl(text).ok().map(|lasts| lasts.num_seconds());
        for (text, expected) in [("90s", 90), ("15m", 900), ("1h", 3600), ("365d", SECONDS_MAX)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in ["", "h", "1", "0s", "-1h", "1w", "1.5h", "366d", "9223372036854775807d", "1 h", "é"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
