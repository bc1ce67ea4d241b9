use super::*;
use crate::testing::config;

#[test]
fn what_is_left_out_has_its_default() {
    let config = config(&[]);
    assert_eq!(config.addr.to_string(), "127.0.0.1:8000");
    assert_eq!(config.database_url.to_string(), "sqlite://data/tollgate.db");
    assert_eq!(config.database_listen_url.to_string(), "sqlite://data/tollgate.db");
    assert_eq!(config.stripe.api_base.as_str(), "https://api.stripe.com/");
    assert!(config.migrates && config.tls.is_none() && config.app_url.is_none() && config.redis_url.is_none());
    assert!(config.stripe.secret_key.is_none() && config.admin_api_key.is_none());
    assert_eq!(config.stripe.livemode, None);
}

#[test]
fn a_lease_is_refreshed_before_it_ends() {
    let hours = |variables: &[(&str, &str)]| {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = Env::from_vars(owned);
        let LeaseLength { lasts, refresh_after } = lease_length(&env);
        env.finish().map_err(|bad| bad.0.into_keys().collect::<Vec<_>>())?;
        Ok::<_, Vec<String>>((lasts.num_hours(), refresh_after.num_hours()))
    };
    assert_eq!(hours(&[]), Ok((168, 24)));
    assert_eq!(hours(&[("LEASE_HOURS", "12")]), Ok((12, 12)));
    assert_eq!(hours(&[("LEASE_HOURS", "720"), ("LEASE_REFRESH_HOURS", "1")]), Ok((720, 1)));
    for bad in ["0", "-1", "8761", "1.5", "week"] {
        assert_eq!(hours(&[("LEASE_HOURS", bad)]), Err(vec!["LEASE_HOURS".to_owned()]), "{bad}");
    }
    let longer = hours(&[("LEASE_HOURS", "12"), ("LEASE_REFRESH_HOURS", "13")]);
    assert_eq!(longer, Err(vec!["LEASE_REFRESH_HOURS".to_owned()]));
}

#[test]
fn events_are_kept_for_ninety_days_or_as_long_as_is_said() {
    let days = |config: Config| (config.webhook_events_kept.num_days(), config.license_events_kept.num_days());
    assert_eq!(days(config(&[])), (90, 90));
    let said = [("WEBHOOK_EVENTS_DAYS_MAX", "1"), ("LICENSE_EVENTS_DAYS_MAX", "36500")];
    assert_eq!(days(config(&said)), (1, 36_500));
    for bad in ["0", "-1", "36501", "1.5", "for good", "9223372036854775807"] {
        let env = Env::from_vars([("LICENSE_EVENTS_DAYS_MAX".to_owned(), bad.to_owned())]);
        days_kept(&env, "LICENSE_EVENTS_DAYS_MAX");
        assert_eq!(env.finish().unwrap_err().0.into_keys().collect::<Vec<_>>(), ["LICENSE_EVENTS_DAYS_MAX"], "{bad}");
    }
}

#[test]
fn the_intake_takes_the_relays_secret_alone_where_there_is_one() {
    let without = config(&[("INTERNAL_API_KEY", "one,two")]);
    assert!(without.intake_keys.matches(b"one") && without.intake_keys.matches(b"two"));
    let with = config(&[("INTERNAL_API_KEY", "one,two"), ("RELAY_INTERNAL_SECRET", "three, four")]);
    assert!(with.intake_keys.matches(b"three") && with.intake_keys.matches(b"four"));
    assert!(!with.intake_keys.matches(b"one"));
    assert!(with.internal_keys.matches(b"one") && !with.internal_keys.matches(b"three"));
}

#[test]
fn who_sends_mails_without_a_page_to_end_them_is_warned() {
    let mail = [("SMTP_URL", "smtp://mail.example.com"), ("MAIL_FROM", "billing@example.com")];
    assert_eq!((config(&[]).warnings(), config(&mail).warnings()), (vec![], vec![NO_PUBLIC_URL]));
    for address in ["PUBLIC_URL", "APP_URL"] {
        let known = [mail[0], mail[1], (address, "https://pay.example.com")];
        assert!(config(&known).warnings().is_empty(), "{address}");
    }
}

#[test]
fn an_address_of_ipv6_is_one() {
    assert_eq!(config(&[("BACKEND_ADDR", "[::1]:9000")]).addr.port(), 9000);
}

#[test]
fn a_configuration_does_not_show_its_secrets() {
    let shown = format!(
        "{:?}",
        config(&[
            ("INTERNAL_API_KEY", "hunter2"),
            ("ADMIN_API_KEY", "hunter2"),
            ("STRIPE_SECRET_KEY", "sk_live_hunter2"),
            ("DATABASE_URL", "postgres://ada:hunter2@db/tollgate"),
            ("REDIS_URL", "redis://:hunter2@cache"),
        ])
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn retries_of_pods_are_stripes_unless_they_are_said_to_be_ours() {
    let owner = |variables: &[(&str, &str)]| config(variables).pod_retries;
    assert_eq!(owner(&[]), RetryOwner::Stripe);
    assert_eq!(owner(&[("POD_RETRIES", "stripe")]), RetryOwner::Stripe);
    assert_eq!(owner(&[("POD_RETRIES", "tollgate")]), RetryOwner::Tollgate);
}
