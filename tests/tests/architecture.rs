//! What ARCHITECTURE.md says must never be is not: which crate may use which, and in what order the modules of each
//! crate stand. Each test quotes the line that it guards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tollgate_tests::imports::{self, Crate, Import};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member is in the workspace's folder").to_owned()
}

/// Panics when ARCHITECTURE.md no longer says what a test guards.
fn guards(line: &str) {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is ARCHITECTURE.md");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&text).contains(&words(line)), "ARCHITECTURE.md does not say: {line}");
}

/// A crate of ours and what its manifest names.
struct Member {
    name: String,
    folder: PathBuf,
    /// What its own code is built with, not its tests.
    uses: BTreeSet<String>,
    /// The files of programs that are not built to be tested.
    untested: Vec<PathBuf>,
}

fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list").iter();
            let own = dependencies.filter(|dependency| dependency["kind"] != "dev");
            let targets = package["targets"].as_array().expect("a list").iter();
            let untested = targets.filter(|target| target["test"] == false);
            Member {
                name: text(&package["name"]),
                folder: Path::new(&text(&package["manifest_path"])).parent().expect("it is in a folder").to_owned(),
                uses: own.map(|dependency| text(&dependency["name"])).collect(),
                untested: untested.map(|target| text(&target["src_path"]).into()).collect(),
            }
        })
        .collect()
}

/// Our own crates, and those of ours that each may use.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("tollgate-shared", &[]),
    ("tollgate-journal", &["tollgate-shared"]),
    ("tollgate-relay", &["tollgate-journal", "tollgate-shared"]),
    ("tollgate-stripe", &["tollgate-shared"]),
    ("tollgate-db", &["tollgate-shared"]),
    ("tollgate-domain", &["tollgate-db", "tollgate-shared", "tollgate-stripe"]),
    ("tollgate-backend", &["tollgate-db", "tollgate-domain", "tollgate-shared", "tollgate-stripe"]),
    ("tollgate-tests", &["tollgate-shared"]),
    ("tollgate-test-client", &[]),
    (
        "tollgate-bench",
        &["tollgate-backend", "tollgate-db", "tollgate-journal", "tollgate-relay", "tollgate-shared", "tollgate-tests"],
    ),
];

#[test]
fn a_crate_uses_only_the_crates_below_it() {
    guards("`shared` uses no other crate of ours. No crate of the relay uses one of the backend, nor the other way.");
    guards("`journal`, `db` and `stripe` use `shared` alone; `domain` uses `db` and `stripe`.");
    let allowed = BTreeMap::from(MAY_USE);
    for member in members() {
        let may = allowed.get(&*member.name).unwrap_or_else(|| panic!("{} has no place in MAY_USE", member.name));
        let ours = member.uses.iter().filter(|name| name.starts_with("tollgate-"));
        let wrong: Vec<_> = ours.filter(|name| !may.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{} uses {wrong:?}", member.name);
    }
}

#[test]
fn neither_tier_is_built_with_the_tests() {
    guards("Neither tier is built with the crate `tests`.");
    let members: BTreeMap<_, _> = members().into_iter().map(|member| (member.name.clone(), member)).collect();
    for tier in ["tollgate-relay", "tollgate-backend"] {
        let mut built_with = BTreeSet::from([tier]);
        let mut next = vec![tier];
        while let Some(member) = next.pop().and_then(|name| members.get(name)) {
            next.extend(member.uses.iter().map(String::as_str).filter(|name| built_with.insert(*name)));
        }
        let tests: Vec<_> = built_with.iter().filter(|name| name.starts_with("tollgate-test")).collect();
        assert!(tests.is_empty(), "{tier} is built with {tests:?}");
    }
}

#[test]
fn no_test_is_left_out_of_the_build() {
    for file in members().into_iter().flat_map(|member| member.untested) {
        let code = fs::read_to_string(&file).expect("a source is readable");
        assert!(!code.contains("test]"), "{} has tests, and its manifest says that it has none", file.display());
    }
}

/// Crates of others that only some of ours may name.
const ONLY_IN: [(&str, &[&str]); 5] = [
    ("sqlx", &["tollgate-db", "tollgate-tests", "tollgate-bench"]),
    ("rocket", &["tollgate-backend"]),
    ("reqwest", &["tollgate-relay", "tollgate-backend", "tollgate-test-client"]),
    ("hyper", &["tollgate-relay", "tollgate-backend", "tollgate-tests", "tollgate-bench"]),
    ("http", &["tollgate-relay", "tollgate-tests", "tollgate-bench"]),
];

#[test]
fn drivers_and_frameworks_stay_in_their_crate() {
    guards("`sqlx` is used in `db` alone, `rocket` in `backend` alone, `hyper` and `reqwest` in `relay` and `backend`");
    for (dependency, may) in ONLY_IN {
        for member in members().iter().filter(|member| member.uses.contains(dependency)) {
            assert!(may.contains(&member.name.as_str()), "{} uses {dependency}", member.name);
        }
    }
}

/// What would be a task, a clock or a network in a crate of rules.
const RUNTIME: [&str; 6] = ["tokio::spawn", "tokio::time", "tokio::net", "tokio::task", "tokio::fs", "std::net"];

#[test]
fn rules_and_readers_do_no_io() {
    guards("`domain` starts no task, opens no connection and reads no clock; `stripe` does no I/O at all.");
    for member in members() {
        let forbidden: &[&str] = match &*member.name {
            "tollgate-stripe" => &["tokio", "std::fs", "std::net", "std::io"],
            "tollgate-domain" => &RUNTIME,
            _ => continue,
        };
        for file in imports::sources(&member.folder.join("src")) {
            let text = fs::read_to_string(&file).expect("a source is readable");
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = forbidden.iter().find(|word| code.contains(*word));
                assert!(found.is_none(), "{}:{}: {found:?}", file.display(), number + 1);
            }
        }
    }
}

/// The order of a crate's modules: what stands in a line imports only what stands in the lines before it. A module that
/// is not named here is refused.
const ORDER: [(&str, &[&[&str]]); 3] = [
    (
        "tollgate-relay",
        &[
            &["body", "lifecycle", "metrics"],
            &["backend", "public_proxy"],
            &["forwarder"],
            &["intake"],
            &["limits", "routes"],
            &["config"],
            &["commands", "server"],
            &["main"],
        ],
    ),
    (
        "tollgate-domain",
        &[
            &["toml_file"],
            &[
                "plans",
                "history",
                "sealer",
                "sightings",
                "deployment_keys",
                "audit",
                "cron",
                "events",
                "dead_letters",
                "reconciliation",
                "payment_methods",
                "charges",
                "support",
                "console",
            ],
            &["payments", "subscriptions"],
            &["purchases"],
            &["customers", "invoices", "licenses", "api_keys", "widgets", "users", "pods", "payouts"],
            &["contributions"],
            &["memberships"],
            &["idempotency", "releases", "sessions"],
            &["acknowledgements"],
            &["terminals"],
            &["settings", "customer_state"],
            &["notifications"],
            &["alerts", "entitlements"],
            &["analytics", "user_state"],
            &["apply"],
        ],
    ),
    (
        "tollgate-backend",
        &[
            &["bells", "delay_queue", "http_client", "last_seen", "measured", "schema", "tally", "tasks", "templates"],
            &["channels", "relays", "stripe_api"],
            &["config"],
            &["app"],
            &["write"],
            &["differences"],
            &["http"],
            &[
                "account",
                "api_keys",
                "audit",
                "console",
                "customers",
                "deployment_keys",
                "invoices",
                "licenses",
                "notifications",
                "openapi",
                "payment_methods",
                "payments",
                "releases",
                "subscriptions",
                "support",
                "users",
                "widgets",
            ],
            &["events", "terminals"],
            &["billing"],
            &["pods"],
            &["webhooks"],
            &["alerts", "analytics", "dead_letters", "entitlements", "monitoring", "reconciliation"],
            &["cron"],
            &["overview"],
            &["server"],
            &["commands"],
            &["main"],
        ],
    ),
];

fn sources(member: &Member) -> Crate {
    Crate::read(&member.folder.join("src"))
}

fn at(import: &Import) -> String {
    let file = import.file.strip_prefix(root()).unwrap_or(&import.file);
    format!("{}:{}: {}", file.display(), import.line, import.path.join("::"))
}

#[test]
fn modules_import_only_what_stands_before_them() {
    guards("Inside a crate no module imports one that stands after it in this order");
    let orders = BTreeMap::from(ORDER);
    let mut wrong = Vec::new();
    for member in members() {
        let Some(order) = orders.get(&*member.name) else { continue };
        let rank = |module: &[String]| {
            let room = module.first()?;
            Some(order.iter().position(|line| line.contains(&room.as_str())))
        };
        let sources = sources(&member);
        for module in sources.modules.keys() {
            if rank(module) == Some(None) {
                wrong.push(format!("{}: {} has no place in ORDER", member.name, module[0]));
            }
        }
        for import in &sources.imports {
            if let (Some(Some(from)), Some(Some(to))) = (rank(&import.from), rank(&import.to))
                && to > from
            {
                wrong.push(at(import));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    guards("There is no circle of imports in any crate");
    let circles = members().into_iter().filter_map(|member| {
        let sources = sources(&member);
        let circle = sources.circle()?;
        Some(circle.into_iter().map(at).collect::<Vec<_>>().join("\n"))
    });
    let circles: Vec<_> = circles.collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n\n"));
}

#[test]
fn names_are_imported_from_where_they_are_defined() {
    guards("Inside a crate a name is imported from the module that defines it, not through the crate's face");
    let mut wrong = Vec::new();
    for member in members().iter().filter(|member| !["tollgate-tests", "tollgate-bench"].contains(&&*member.name)) {
        let sources = sources(member);
        for import in &sources.imports {
            let definition = sources.definition(import);
            // A room's face is for those outside the room; the crate's face is for other crates.
            let through_the_face = import.to.is_empty() && import.path.len() == 1 && !import.exported;
            let face_of_own_room = import.from.starts_with(&import.to) && !import.to.is_empty();
            let passed_on = definition != import.to && definition != import.from;
            if passed_on && (through_the_face || face_of_own_room) && !import.from.is_empty() {
                wrong.push(format!("{} (defined in {})", at(import), definition.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_imports_another_modules_store() {
    guards("A noun's `store` is its own: others call its verbs.");
    let mut wrong = Vec::new();
    for member in members() {
        for import in &sources(&member).imports {
            let Some(index) = import.path.iter().position(|step| step == "store") else { continue };
            if !import.from.starts_with(&import.path[..index]) {
                wrong.push(at(import));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of a file that is not for tests.
const LINES_MAX: usize = 400;

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    guards("No file outside of tests has 400 lines.");
    let mut wrong = Vec::new();
    for member in members().iter().filter(|member| member.name != "tollgate-tests") {
        for file in imports::sources(&member.folder) {
            let lines = fs::read_to_string(&file).expect("a source is readable").lines().count();
            if lines >= LINES_MAX {
                wrong.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
