//! `tollgate-backend token`: signs in as somebody, for development.

use chrono::Duration;
use clap::{Args, ValueEnum};
use tollgate_shared::Clock;

use crate::config::Config;
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
    /// How long it is good for: 90s, 15m, 12h, 30d
    #[arg(long, default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    User,
    Admin,
}

pub(super) fn run(config: &Config, arguments: &TokenArguments) {
    let TokenArguments { sub, email, role, ttl } = arguments;
    let subject = Subject { id: sub, email: email.as_deref(), is_admin: *role == Role::Admin };
    println!("{}", mint::token(config, Clock::system().now(), *ttl, &subject));
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
