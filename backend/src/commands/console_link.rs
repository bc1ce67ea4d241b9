//! `tollgate-backend console-link`: lets an operator sign in at the console, by a link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use clap::Args;
use reqwest::Url;
use tollgate_shared::{Clock, Rng};

use crate::config::Config;
use crate::http::auth::{link, readable_name};

#[derive(Debug, Args)]
pub(super) struct ConsoleLinkArguments {
    /// What the audit trail calls whoever follows it
    #[arg(long, default_value = "link", value_parser = name)]
    name: String,
    /// The address at which the backend is reached [default: that of BACKEND_ADDR, on this machine]
    #[arg(long)]
    url: Option<Url>,
}

pub(super) fn run(config: &Config, arguments: &ConsoleLinkArguments) -> anyhow::Result<()> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => at(config.addr, config.tls.is_some()).context("name the backend's address with --url")?,
    };
    let now = Clock::system().now();
    println!("{}", link::make_for_console(&config.auth_secrets, &url, &Rng::system(), now, &arguments.name));
    Ok(())
}

fn name(text: &str) -> Result<String, String> {
    readable_name(text).ok_or_else(|| "1 to 64 characters".to_owned())
}

/// How a browser on this machine reaches what listens on `addr`.
fn at(addr: SocketAddr, is_secure: bool) -> Option<Url> {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let scheme = if is_secure { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_on_this_machine() {
        let at = |addr: &str, is_secure| at(addr.parse().unwrap(), is_secure).unwrap().to_string();
        assert_eq!(at("127.0.0.1:8000", false), "http://127.0.0.1:8000/");
        assert_eq!(at("0.0.0.0:8000", true), "https://127.0.0.1:8000/");
        assert_eq!(at("[::]:8000", false), "http://[::1]:8000/");
        assert_eq!(at("10.0.0.7:9000", false), "http://10.0.0.7:9000/");
    }
}
