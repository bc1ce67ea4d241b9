//! How the relay is, as JSON: what its metrics say.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Admin;

/// How a relay is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    relay: &'a str,
    version: &'static str,
    can_append: bool,
    unconfirmed: u64,
    /// Null while all is confirmed.
    oldest_unconfirmed_seconds: Option<i64>,
    journal_bytes: u64,
    /// Each number of `/metrics`, by its name and labels; without the buckets of histograms.
    metrics: BTreeMap<&'a str, f64>,
}

/// How `admin`'s relay is.
pub(super) fn of(admin: &Admin) -> Vec<u8> {
    let (stats, now) = (admin.journal.stats(), admin.clock.now());
    let text = admin.metrics.render(&stats, now);
    let status = Status {
        relay: &admin.id,
        version: env!("CARGO_PKG_VERSION"),
        can_append: stats.can_append,
        unconfirmed: stats.unconfirmed,
        oldest_unconfirmed_seconds: stats.oldest_unconfirmed_at.map(|at| (now - at).num_seconds().max(0)),
        journal_bytes: stats.bytes,
        metrics: numbers(&text),
    };
    serde_json::to_vec(&status).expect("strings and numbers are always JSON")
}

/// The numbers in a text for Prometheus.
fn numbers(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    let number = |line: &'_ str| {
        let (name, value) = line.rsplit_once(' ')?;
        value.parse().ok().filter(|number: &f64| number.is_finite()).map(|number| (name.len(), number))
    };
    lines.filter_map(|line| number(line).map(|(length, number)| (&line[..length], number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_by_its_name_and_labels() {
        let text = "# HELP a what it is\n# TYPE a counter\na{answer=\"a b\"} 2\nb 0.5\nc_bucket{le=\"1\"} 7\nc_sum 3\nd NaN\n\n";
        let expected = BTreeMap::from([("a{answer=\"a b\"}", 2.0), ("b", 0.5), ("c_sum", 3.0)]);
        assert_eq!(numbers(text), expected);
    }
}
