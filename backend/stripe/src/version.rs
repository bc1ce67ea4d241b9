//! Which API versions the readers were checked against.

use chrono::NaiveDate;

/// Dated versions since prices replaced plans on a subscription's items, up to the last of its kind.
const DATED: [&str; 7] =
    ["2020-08-27", "2022-08-01", "2022-11-15", "2023-08-16", "2023-10-16", "2024-04-10", "2024-06-20"];

/// Release trains with their first version. The monthly versions of a train only add to it.
const TRAINS: [(&str, &str); 5] = [
    ("acacia", "2024-09-30"),
    ("basil", "2025-03-31"),
    ("clover", "2025-09-30"),
    ("dahlia", "2026-03-25"),
    ("endive", "2026-09-30"),
];

/// Whether the shapes of `version` are known: one of the dated versions, or any version of a known release train.
/// Events of other versions are read all the same; this is for saying so.
pub fn is_known_version(version: &str) -> bool {
    match version.split_once('.') {
        None => DATED.contains(&version),
        Some((date, train)) => {
            let is_date = date.len() == 10 && NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok();
            // Dates of this form are in the order of their texts.
            is_date && TRAINS.iter().any(|(name, first)| *name == train && *first <= date)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dated_versions_and_any_month_of_a_known_train_are_known() {
        for version in ["2024-06-20", "2024-09-30.acacia", "2025-03-31.basil", "2025-08-27.basil", "2026-11-15.endive"]
        {
            assert!(is_known_version(version), "{version}");
        }
    }

    #[test]
    fn another_train_or_what_is_no_version_is_not_known() {
        for version in [
            "2027-03-31.fennel",
            "2025-03-31.preview",
            "2026-11-15",
            "2014-01-31",
            "2025-03-30.basil",
            "2026-13-01.endive",
            "26-11-15.endive",
            "2026-11-15.",
            "2026-11-15.endive.1",
            ".endive",
            "endive",
            "",
        ] {
            assert!(!is_known_version(version), "{version}");
        }
    }
}
