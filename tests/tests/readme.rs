//! What the README says of variables and of this tree is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Capitals with an underscore in the code that are no variables of ours.
const NO_VARIABLES: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_PKG_VERSION",
    "EVENT_ID",
    "LC_ALL",
    "NOT_ACTIVATED",
    "NOT_FOUND",
    "OUT_DIR",
    "TOLLGATE_TEST_POSTGRES",
    "TOO_MANY_MACHINES",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member is in the workspace's folder").to_owned()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there is a README")
}

/// The text between a heading and the next one.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let (_, rest) = readme.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// The names in the first column of a section's table.
fn documented(heading: &str) -> BTreeSet<String> {
    let readme = readme();
    let cells = section(&readme, heading).lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The crates of a tier: its own folder, and those in it.
fn crates_of(tier: &str) -> Vec<String> {
    let inside =
        fs::read_dir(root().join(tier)).expect("a tier has a folder").map(|entry| entry.expect("it is readable"));
    let inside = inside.filter(|entry| entry.path().join("Cargo.toml").exists());
    let inside = inside.map(|entry| format!("{tier}/{}", entry.file_name().to_string_lossy()));
    std::iter::once(tier.to_owned()).chain(inside).collect()
}

/// Every string literal in the sources of tiers that is spelt as a variable's name.
fn in_code(tiers: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let crates = tiers.iter().flat_map(|tier| crates_of(tier));
    let mut folders: Vec<_> = crates.map(|member| root().join(member).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a member has sources").map(|entry| entry.expect("it is readable")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(path).expect("a source is readable");
                names.extend(code.split('"').filter(|literal| is_name(literal)).map(str::to_owned));
            }
        }
    }
    names.retain(|name| !NO_VARIABLES.contains(&name.as_str()));
    names
}

fn is_name(literal: &str) -> bool {
    let spelt = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let words = !literal.ends_with('_') && literal.contains('_');
    words && literal.starts_with(|first: char| first.is_ascii_uppercase()) && literal.bytes().all(spelt)
}

#[test]
fn each_variable_of_the_relay_is_in_its_table_and_no_other() {
    assert_eq!(documented("### Relay"), in_code(&["relay", "relay/journal", "shared"]));
}

#[test]
fn each_variable_of_the_backend_is_in_its_table_and_no_other() {
    assert_eq!(documented("### Backend"), in_code(&["backend", "backend/stripe", "shared"]));
}

/// The documents whose word on this tree is kept.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/API.md",
    "docs/account-page.md",
    "docs/desktop-apps.md",
];

/// Where paths in the documents begin.
const TOPS: [&str; 8] = ["backend/", "bench/", "docs/", "fuzz/", "relay/", "scripts/", "shared/", "tests/"];

#[test]
fn every_path_that_the_documents_name_is_there() {
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
        // Between single backticks, and in links; a path with a placeholder in it is none.
        let quoted = text.split('`').skip(1).step_by(2);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let is_path = |path: &&str| {
            let plain = path.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
            plain && TOPS.iter().any(|top| path.starts_with(top))
        };
        for path in quoted.chain(linked).filter(is_path) {
            assert!(root().join(path).exists(), "{document} names {path}, which is not in the tree");
        }
    }
}

/// The places of the map, without their final slash.
fn map() -> BTreeSet<String> {
    let readme = readme();
    let block = section(&readme, "## The tree").split("```").nth(1).expect("the map is a block of code").to_owned();
    block
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|at| at.trim_end_matches('/').to_owned())
        .collect()
}

#[test]
fn everything_on_the_map_is_there() {
    for place in map() {
        assert!(root().join(&place).exists(), "{place} is on the README's map and not in the tree");
    }
}

#[test]
fn every_folder_of_source_is_on_the_map() {
    for member in ["relay", "backend"].into_iter().flat_map(crates_of) {
        assert!(map().contains(&member), "{member} is not on the README's map");
        for entry in fs::read_dir(root().join(&member).join("src")).expect("a crate has sources") {
            let entry = entry.expect("it is readable");
            let name = entry.file_name().to_string_lossy().into_owned();
            let place = format!("{member}/src/{name}");
            let is_room = entry.path().is_dir() && !["tests", "testing"].contains(&&*name);
            assert!(!is_room || map().contains(&place), "{place} is not on the README's map");
        }
    }
}

/// A rule by a name that nobody counts under is one that never fires.
#[test]
fn every_metric_of_the_rules_for_prometheus_is_one_of_ours() {
    let text = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let described = text("relay/src/metrics/mod.rs") + &text("backend/src/monitoring/metrics.rs");
    let rules = text("alerts.rules.yml");
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let names: BTreeSet<&str> = rules.split(|letter| !is_name(letter)).filter(|word| is_metric(word)).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(
            described.contains(&format!("\"{name}\"")),
            "alerts.rules.yml names {name}, which is no metric of ours"
        );
    }
}

/// `tollgate_relay_replica_up` is that of a relay which has a copy of its journal.
fn is_metric(word: &str) -> bool {
    let ours = ["tollgate_relay_", "tollgate_backend_"].iter().any(|tier| word.starts_with(tier));
    ours && word != "tollgate_relay_replica_up"
}
