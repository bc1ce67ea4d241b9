//! From when on something is amiss: what operators may set in `ALERTS_FILE`.
//!
//! ```toml
//! [NoWebhooks]
//! hours = 72
//!
//! [GraceEnding]
//! enabled = false
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::AlertName;
use crate::toml_file::{self, FileError};

/// A number that may be set: of which alert, by which name, what it is where nobody says so, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    alert: AlertName,
    name: &'static str,
    default: i64,
    min: i64,
    max: i64,
}

impl Number {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether it is a number of that alert.
    pub fn is_of(self, alert: AlertName) -> bool {
        self.alert == alert
    }
}

/// As far back as minutes and hours are looked at: a day, and a month.
const MINUTES_MAX: i64 = 24 * 60;
const HOURS_MAX: i64 = 30 * 24;
const COUNT_MAX: i64 = 1_000_000;

/// Declares each number as a constant, and [`NUMBERS`] with all of them.
macro_rules! numbers {
    ($($(#[$doc:meta])* $constant:ident: $alert:ident $name:literal = $default:literal in $min:literal..=$max:expr;)*) => {
        $($(#[$doc])*
        pub const $constant: Number =
            Number { alert: AlertName::$alert, name: $name, default: $default, min: $min, max: $max };)*

        /// Every number.
        pub const NUMBERS: &[Number] = &[$($constant),*];
    };
}

numbers! {
    /// How many minutes back an answer `not_durable` counts.
    NOT_DURABLE_MINUTES: NotDurable "minutes" = 5 in 1..=MINUTES_MAX;
    /// How many minutes an event may be unconfirmed in a relay's journal.
    UNCONFIRMED_MINUTES: WebhookDeliveryFailing "unconfirmed_minutes" = 5 in 1..=MINUTES_MAX;
    /// How many minutes an event may wait for another attempt.
    FAILED_MINUTES: WebhookDeliveryFailing "failed_minutes" = 30 in 1..=MINUTES_MAX;
    /// How often in a row a relay is silent.
    SILENT_TIMES: RelayUnreachable "times" = 2 in 1..=100;
    /// How many minutes back webhooks count.
    SIGNATURE_MINUTES: SignatureFailures "minutes" = 15 in 1..=MINUTES_MAX;
    /// How many of them match no secret.
    SIGNATURE_COUNT: SignatureFailures "count" = 10 in 1..=COUNT_MAX;
    /// Of how many in a hundred it has to be more.
    SIGNATURE_PERCENT: SignatureFailures "percent" = 10 in 0..=100;
    /// For how many hours no webhook came.
    NO_WEBHOOKS_HOURS: NoWebhooks "hours" = 24 in 1..=HOURS_MAX;
    /// How many minutes a dead letter is open.
    LETTER_MINUTES: DeadLetters "minutes" = 15 in 0..=MINUTES_MAX;
    /// How many are open until it is critical.
    LETTER_COUNT: DeadLetters "count" = 50 in 1..=COUNT_MAX;
    /// By how many intervals a job is late.
    LATE_INTERVALS: CronFailing "intervals" = 2 in 1..=100;
    /// By how many minutes, at least.
    LATE_MINUTES: CronFailing "minutes" = 10 in 1..=MINUTES_MAX;
    /// How often in a row it failed.
    FAILED_RUNS: CronFailing "failures" = 3 in 1..=100;
    /// How many payments failed within an hour.
    PAYMENT_COUNT: PaymentFailureSpike "count" = 10 in 1..=COUNT_MAX;
    /// Of how many in a hundred it has to be more.
    PAYMENT_PERCENT: PaymentFailureSpike "percent" = 30 in 0..=100;
    /// How many times the share of the seven days before.
    PAYMENT_TIMES: PaymentFailureSpike "times" = 3 in 1..=1000;
    /// How many hours of grace are left.
    GRACE_HOURS: GraceEnding "hours" = 48 in 1..=HOURS_MAX;
    /// How many minutes back calls count.
    STRIPE_MINUTES: StripeErrors "minutes" = 15 in 1..=MINUTES_MAX;
    /// How many there have to be.
    STRIPE_COUNT: StripeErrors "count" = 20 in 1..=COUNT_MAX;
    /// Of how many in a hundred it has to be more.
    STRIPE_PERCENT: StripeErrors "percent" = 20 in 0..=100;
    /// How many messages of a channel there have to be within an hour.
    MESSAGE_COUNT: MessagesFailing "count" = 5 in 1..=COUNT_MAX;
    /// Of how many in a hundred it has to be more.
    MESSAGE_PERCENT: MessagesFailing "percent" = 20 in 0..=100;
    /// How many hours back it counts.
    PRICE_HOURS: UnknownPrice "hours" = 24 in 1..=HOURS_MAX;
    /// How many hours back it counts.
    VERSION_HOURS: UnknownVersion "hours" = 24 in 1..=HOURS_MAX;
    /// How many hours back it counts.
    DRIFT_HOURS: SyncDrift "hours" = 24 in 1..=HOURS_MAX;
}

/// What rules go by: the defaults, but for what an operator has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    disabled: BTreeSet<AlertName>,
    set: BTreeMap<Number, i64>,
}

impl Thresholds {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::parse(&toml_file::read(path)?)
    }

    /// Reads the text of such a file.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let (mut thresholds, mut problems) = (Self::default(), Vec::new());
        for (name, value) in toml_file::table(text)? {
            match (AlertName::named(&name), value) {
                (Some(alert), Value::Table(table)) => thresholds.read(alert, table, &mut problems),
                (Some(_), _) => problems.push(format!("`{name}` is not a table: write `[{name}]` above its keys")),
                (None, _) => problems.push(format!("there is no alert `{name}`: there are `{}`", names().join("`, `"))),
            }
        }
        if problems.is_empty() { Ok(thresholds) } else { Err(FileError::Unusable(problems)) }
    }

    fn read(&mut self, alert: AlertName, table: Table, problems: &mut Vec<String>) {
        for (key, value) in table {
            let place = format!("[{}] `{key}`", alert.name());
            if key == ENABLED {
                match value.as_bool() {
                    Some(true) => {}
                    Some(false) => {
                        self.disabled.insert(alert);
                    }
                    None => problems.push(format!("{place} is not `true` or `false`")),
                }
                continue;
            }
            let numbers: Vec<_> = NUMBERS.iter().filter(|number| number.is_of(alert)).collect();
            let Some(number) = numbers.iter().find(|number| number.name == key) else {
                let known: Vec<_> = numbers.iter().map(|number| number.name).chain([ENABLED]).collect();
                problems.push(format!("{place} is no key of it: there are `{}`", known.join("`, `")));
                continue;
            };
            match value.as_integer().filter(|set| (number.min..=number.max).contains(set)) {
                Some(set) => {
                    self.set.insert(**number, set);
                }
                None => problems.push(format!("{place} is not a whole number from {} to {}", number.min, number.max)),
            }
        }
    }

    /// Whether an alert is judged at all.
    pub fn is_enabled(&self, alert: AlertName) -> bool {
        !self.disabled.contains(&alert)
    }

    /// What a number is.
    pub fn of(&self, number: Number) -> i64 {
        self.set.get(&number).copied().unwrap_or(number.default)
    }
}

/// Whether an alert is judged.
const ENABLED: &str = "enabled";

fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = AlertName::CASES.into_iter().map(|(alert, _)| alert.name()).collect();
    names.dedup();
    names
}
