//! What operators may set.

use super::*;
use crate::alerts::thresholds as of;
use crate::toml_file::FileError;

#[test]
fn what_is_set_takes_the_place_of_the_default() {
    let thresholds = Thresholds::parse("[NoWebhooks]\nhours = 72\n[GraceEnding]\nenabled = false\n").unwrap();
    assert_eq!(thresholds.of(of::NO_WEBHOOKS_HOURS), 72);
    assert_eq!(thresholds.of(of::GRACE_HOURS), 48);
    let mut seen = calm();
    seen.grace_ending = 1;
    seen.events.quiet_since = now() - Duration::hours(71);
    assert!(judge(&seen, &thresholds).findings.is_empty());
    seen.events.quiet_since = now() - Duration::hours(72);
    assert_eq!(shown(&judge(&seen, &thresholds)), ["NoWebhooks warning"]);
}

#[test]
fn every_number_may_be_set_to_what_it_is_anyway() {
    let defaults = Thresholds::default();
    let table = |(alert, _): (AlertName, Severity)| {
        let numbers = of::NUMBERS.iter().filter(|number| number.is_of(alert));
        let lines = numbers.map(|number| format!("{} = {}\n", number.name(), defaults.of(*number)));
        format!("[{}]\nenabled = true\n{}", alert.name(), lines.collect::<Vec<_>>().concat())
    };
    let mut cases = AlertName::CASES.to_vec();
    cases.dedup_by_key(|(alert, _)| *alert);
    let file = cases.into_iter().map(table).collect::<Vec<_>>().concat();
    let read = Thresholds::parse(&file).unwrap();
    assert!(of::NUMBERS.iter().all(|number| read.of(*number) == defaults.of(*number)));
}

#[test]
fn every_mistake_is_named_at_once() {
    let file = "NotDurable = 5\n[NoWebhooks]\nhours = 0\nhour = 3\nenabled = 1\n[Nothing]\nx = 1\n[StripeErrors]\npercent = 20.5\n";
    let Err(FileError::Unusable(problems)) = Thresholds::parse(file) else { panic!("mistakes were accepted") };
    let has = |words: &str| problems.iter().any(|problem| problem.contains(words));
    for words in [
        "`NotDurable` is not a table",
        "[NoWebhooks] `hours` is not a whole number from 1 to 720",
        "[NoWebhooks] `hour` is no key of it: there are `hours`, `enabled`",
        "[NoWebhooks] `enabled` is not `true` or `false`",
        "there is no alert `Nothing`",
        "[StripeErrors] `percent` is not a whole number from 0 to 100",
    ] {
        assert!(has(words), "{words}: {problems:#?}");
    }
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(matches!(Thresholds::parse("[NoWebhooks\n"), Err(FileError::NotToml { line: 1, .. })));
    assert!(Thresholds::parse("").is_ok());
}
