use chrono::Duration;
use tollgate_db::UnitOfWork;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_shared::{Rng, Timestamp};

use super::devices::{self, DEVICES_MAX, Device, Kind, NewDevice};
use super::preferences::Preferences;
use super::sending::{Skip, Standing, retry_delay, why_not_now};
use super::*;
use crate::invoices::Invoice;

fn now() -> Timestamp {
    from_unix(1_750_000_000).unwrap()
}

fn work() -> UnitOfWork {
    UnitOfWork::new(now(), Rng::seeded(1))
}

fn notice(template: Template, recipient: Recipient) -> Notice {
    Notice { template, subject: "in_1".to_owned(), recipient, facts: Facts::default() }
}

/// The channels of what was written, with what a user sees.
fn written(template: Template, recipient: Recipient) -> (usize, Vec<String>) {
    let mut work = work();
    tell(&mut work, &notice(template, recipient), Some("evt_1"));
    work.release_savepoint();
    let messages = work.appended::<Message>().map(|row| row.channel.clone()).collect();
    (work.appended::<Notification>().count(), messages)
}

#[test]
fn each_template_has_a_name_of_its_own() {
    for template in Template::ALL {
        assert_eq!(Template::named(template.name()), Some(template));
        assert!(Category::ALL.contains(&template.category()));
    }
    assert_eq!(Template::named("greeting"), None);
}

#[test]
fn a_user_sees_everything_and_is_mailed_what_matters() {
    let user = || Recipient::user("user_1", Some("cus_1"));
    assert_eq!(written(Template::PaymentReceived, user()), (1, vec![]));
    assert_eq!(written(Template::PaymentFailing, user()), (1, vec!["email".to_owned(), "push".to_owned()]));
    assert_eq!(written(Template::PaymentRecovered, user()), (1, vec!["email".to_owned()]));
    // A user may have added pushes to pods: that is known when it is sent.
    assert_eq!(written(Template::PodJoined, user()), (1, vec!["email".to_owned(), "push".to_owned()]));
}

#[test]
fn a_customer_of_nobody_gets_mail_alone() {
    let customer = || Recipient { user_id: None, customer_id: Some("cus_1".to_owned()) };
    assert_eq!(written(Template::PaymentFailing, customer()), (0, vec!["email".to_owned()]));
    assert_eq!(written(Template::PaymentFailed, customer()), (0, vec![]));
    assert_eq!(written(Template::PaymentFailing, Recipient::default()), (0, vec![]));
}

#[test]
fn what_is_told_twice_has_one_name() {
    let mut work = work();
    for _ in 0..2 {
        tell(&mut work, &notice(Template::PaymentFailing, Recipient::user("user_1", None)), None);
    }
    work.release_savepoint();
    let mut keys: Vec<_> = work.appended::<Message>().map(|row| row.once_key.clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, ["payment_failing:in_1:user_1:email", "payment_failing:in_1:user_1:push"]);
}

#[test]
fn a_user_chooses_channels_by_category() {
    let mut preferences = Preferences::by_default("user_1");
    assert!(preferences.want(Template::GraceEnding, Channel::Push));
    assert!(!preferences.want(Template::PodJoined, Channel::Push), "not by default");
    preferences.set(Category::Pods, &[Channel::Push]);
    assert!(preferences.want(Template::PodJoined, Channel::Push));
    assert!(!preferences.want(Template::PodJoined, Channel::Email));
    preferences.turn_off(Category::Payments, Channel::Email);
    assert_eq!(preferences.channels_of(Category::Payments), [Channel::Push]);
    assert!(!preferences.want(Template::GraceEnding, Channel::Email));
    preferences.push_is_on = false;
    assert!(!preferences.want(Template::GraceEnding, Channel::Push));
    assert!(!preferences.want(Template::PaymentReceived, Channel::Email), "it is seen in the application");
}

#[test]
fn a_message_is_tried_seven_times_within_a_day() {
    let delays: Vec<_> = (1..).map_while(|attempts| retry_delay(attempts, None)).collect();
    let mut at = Duration::zero();
    let mut tries = vec![0];
    for delay in delays {
        at += delay;
        tries.push(at.num_minutes());
    }
    assert_eq!(tries, [0, 1, 5, 30, 120, 360, 1440]);
    let asked = Some(Duration::minutes(10));
    assert_eq!((retry_delay(1, asked), retry_delay(3, asked)), (asked, Some(Duration::minutes(25))));
    assert_eq!(retry_delay(1, Some(Duration::days(900))), Some(Duration::hours(24)));
    assert_eq!((retry_delay(0, None), retry_delay(7, None)), (None, None));
}

#[test]
fn what_ends_its_process_each_time_is_given_up_within_a_day() {
    let mut work = work();
    tell(&mut work, &notice(Template::PodJoined, Recipient::user("user_1", None)), None);
    work.release_savepoint();
    let mut message = work.appended::<Message>().next().unwrap().clone();
    let (mut at, mut tries) = (now(), Vec::new());
    while message.take_up(at) {
        tries.push((at - now()).num_minutes());
        at = message.next_attempt_at.unwrap();
    }
    assert_eq!(tries, [0, 5, 10, 35, 125, 365, 1445]);
    assert_eq!((message.attempts, message.next_attempt_at > Some(at)), (7, true), "whoever gives it up holds it");
}

#[test]
fn what_is_settled_or_late_is_not_said_any_more() {
    let invoice = |status: &str| Invoice { status: status.to_owned(), ..Invoice::placeholder("in_1") };
    let why = |template, status: &str, age: Duration| {
        let invoice = invoice(status);
        let standing = Standing { invoice: Some(&invoice), ..Standing::default() };
        why_not_now(template, &Facts::default(), &standing, now() - age, now())
    };
    assert_eq!(why(Template::PaymentFailing, "open", Duration::days(3)), None);
    assert_eq!(why(Template::PaymentFailing, "paid", Duration::zero()), Some(Skip::Settled));
    assert_eq!(why(Template::GraceEnded, "void", Duration::zero()), Some(Skip::Settled));
    assert_eq!(why(Template::PaymentRecovered, "paid", Duration::days(3)), None);
    assert_eq!(why(Template::ContributionDue, "open", Duration::hours(24)), None);
    assert_eq!(why(Template::ContributionDue, "open", Duration::hours(25)), Some(Skip::Late));
}

#[test]
fn days_are_counted_to_the_end_of_a_grace() {
    let days = |hours: i64| Facts::default().with_grace(Some(now() + Duration::hours(hours)), now()).days_left;
    assert_eq!([days(47), days(24), days(1), days(0), days(-3)], [Some(2), Some(1), Some(1), Some(0), Some(0)]);
    let facts = Facts::default().with_grace(Some(now()), now());
    assert_eq!(facts.grace_ends_at, Some(rfc3339(now())));
    assert_eq!(Facts::of_json(&facts.to_json()), facts);
}

fn browser(name: &str, endpoint: &str) -> NewDevice {
    NewDevice {
        kind: Kind::WebPush,
        platform: None,
        name: Some(name.to_owned()),
        address: endpoint.to_owned(),
        normal_address: endpoint.to_lowercase(),
        p256dh: Some("key".to_owned()),
        auth: Some("secret".to_owned()),
    }
}

#[test]
fn a_browser_is_one_device_whoever_signs_in() {
    let mut work = work();
    let (first, is_new) = devices::register(&mut work, "user_1", browser("Laptop", "https://push/1")).unwrap();
    assert!(is_new);
    let (again, is_new) = devices::register(&mut work, "user_1", browser("My laptop", "https://push/1")).unwrap();
    assert_eq!((&again.id, again.name.as_deref(), is_new), (&first.id, Some("My laptop"), false));
    let (moved, is_new) = devices::register(&mut work, "user_2", browser("Laptop", "https://push/1")).unwrap();
    assert!(is_new && work.all::<Device>().count() == 1);
    assert_eq!(work.get::<Device>(&moved.id).map(|row| &*row.user_id), Some("user_2"));
}

#[test]
fn a_browser_is_one_device_however_its_address_is_spelled() {
    let mut work = work();
    // As an earlier release knew it.
    let new = NewDevice { normal_address: "https://PUSH/1".to_owned(), ..browser("Laptop", "https://PUSH/1") };
    let (first, _) = devices::register(&mut work, "user_1", new).unwrap();
    for spelling in ["https://PUSH/1", "https://push/1", "https://Push/1"] {
        let (again, is_new) = devices::register(&mut work, "user_1", browser("Laptop", spelling)).unwrap();
        assert_eq!((&again.id, &*again.address, is_new), (&first.id, spelling, false));
    }
    assert_eq!(work.all::<Device>().count(), 1);
}

#[test]
fn a_user_has_twenty_devices_at_most() {
    let mut work = work();
    for index in 0..DEVICES_MAX {
        devices::register(&mut work, "user_1", browser("Phone", &format!("https://push/{index}"))).unwrap();
    }
    assert!(devices::register(&mut work, "user_1", browser("Phone", "https://push/more")).is_err());
    assert!(devices::register(&mut work, "user_1", browser("Phone", "https://push/1")).is_ok(), "the same again");
    assert!(devices::register(&mut work, "user_2", browser("Phone", "https://push/more")).is_ok());
}
