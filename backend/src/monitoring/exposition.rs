//! Prometheus's text format, for numbers that are asked for at a scrape and not counted as they come.

use std::fmt::Write as _;

/// Metrics as text, each with its description.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A metric with one value.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.metric(name, help, "gauge", [(String::new(), value)]);
    }

    /// A metric with a value for each value of `label`. Label values are names of ours and need no escapes.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        let labelled = |(of, value): (&str, f64)| (format!("{{{label}=\"{of}\"}}"), value);
        self.metric(name, help, "gauge", values.into_iter().map(labelled));
    }

    /// The same by several labels, which are written as they stand: `{a="b",c="d"}`.
    pub fn gauges_by(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        self.metric(name, help, "gauge", values);
    }

    /// A metric that only grows. `labels` are written as they stand: `{a="b"}`, or nothing.
    pub fn counter(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        self.metric(name, help, "counter", values);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn metric(&mut self, name: &str, help: &str, kind: &str, values: impl IntoIterator<Item = (String, f64)>) {
        let text = &mut self.0;
        let written = (|| {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            values.into_iter().try_for_each(|(labels, value)| writeln!(text, "{name}{labels} {value}"))
        })();
        written.expect("writing to a text does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_described_and_then_given_by_label() {
        let mut exposition = Exposition::default();
        exposition.gauge("tollgate_one", "How many", 1.5);
        exposition.gauges("tollgate_each", "How many of each", "of", [("a", 1.0), ("b", 0.0)]);
        assert_eq!(
            exposition.into_text(),
            "# HELP tollgate_one How many\n# TYPE tollgate_one gauge\ntollgate_one 1.5\n\
             # HELP tollgate_each How many of each\n# TYPE tollgate_each gauge\n\
             tollgate_each{of=\"a\"} 1\ntollgate_each{of=\"b\"} 0\n"
        );
    }
}
