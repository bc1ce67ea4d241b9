//! A measured figure, what it is held against, and how the two are shown.

use serde_json::{Value, json};

/// One quantity over all rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure(Vec<f64>);

impl Figure {
    /// Adds a round.
    pub(crate) fn push(&mut self, round: f64) {
        self.0.push(round);
    }

    /// The middle round; of two middle ones their mean. Zero without rounds.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => sorted[odd / 2],
            even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
        }
    }

    /// The lowest and the highest round.
    fn range(&self) -> (f64, f64) {
        self.0.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), round| (low.min(*round), high.max(*round)))
    }
}

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// At most so many times the reference.
    AtMostTimes(f64),
    /// At least this share of the reference.
    AtLeastShare(f64),
    /// At most this, in the figure's own unit.
    AtMost(f64),
    /// It is shown and held against nothing.
    Nothing,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// The measurement that it is of.
    pub(crate) name: &'static str,
    /// What is measured.
    pub(crate) what: &'static str,
    /// Of the figure and its reference.
    pub(crate) unit: &'static str,
    /// What was measured.
    pub(crate) measured: Figure,
    /// What it is compared with, measured in the rounds between.
    pub(crate) reference: Option<(&'static str, Figure)>,
    /// What it may be.
    pub(crate) limit: Limit,
}

impl Budget {
    /// The figure in units of its reference, or of its limit where that is absolute.
    fn ratio(&self) -> Option<f64> {
        let whole = match (self.limit, &self.reference) {
            (Limit::AtMost(limit), _) => limit,
            (_, Some((_, reference))) => reference.median(),
            _ => return None,
        };
        (whole > 0.0).then(|| self.measured.median() / whole)
    }

    /// How much of the limit is used up: 1 is exactly at it, more is over it.
    fn used(&self) -> Option<f64> {
        let ratio = self.ratio()?;
        match self.limit {
            Limit::AtMostTimes(times) => Some(ratio / times),
            Limit::AtLeastShare(share) => Some(if ratio > 0.0 { share / ratio } else { f64::INFINITY }),
            Limit::AtMost(_) => Some(ratio),
            Limit::Nothing => None,
        }
    }

    fn limit_text(&self) -> String {
        match self.limit {
            Limit::AtMostTimes(times) => format!("≤ {times:.1}×"),
            Limit::AtLeastShare(share) => format!("≥ {:.0} %", share * 100.0),
            Limit::AtMost(limit) => format!("≤ {} {}", number(limit), self.unit),
            Limit::Nothing => String::new(),
        }
    }

    fn ratio_text(&self) -> String {
        match (self.ratio(), self.limit) {
            (Some(ratio), Limit::AtLeastShare(_)) => format!("{:.0} %", ratio * 100.0),
            (Some(ratio), _) => format!("{ratio:.2}×"),
            (None, _) => String::new(),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.used() {
            Some(used) if used <= 1.0 => "within",
            Some(_) => "OVER",
            None => "",
        }
    }

    fn json(&self) -> Value {
        let (low, high) = self.measured.range();
        json!({
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "measured": self.measured.median(),
            "lowest": low,
            "highest": high,
            "rounds": self.measured.0,
            "reference": self.reference.as_ref().map(|(what, figure)| json!({
                "what": what, "measured": figure.median(), "rounds": figure.0,
            })),
            "ratio": self.ratio(),
            "limit": self.limit_text(),
            "withinLimit": self.used().map(|used| used <= 1.0),
        })
    }
}

/// What so great a part of the sorted `values` does not exceed.
pub(crate) fn at(values: &[f64], part: f64) -> f64 {
    let index = (values.len() as f64 * part) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// All of them as one JSON array.
pub(crate) fn print_json(budgets: &[Budget]) {
    let all: Vec<Value> = budgets.iter().map(Budget::json).collect();
    println!("{}", serde_json::to_string_pretty(&all).expect("figures are JSON"));
}

/// A table in Markdown, and a bar for each limit: how much of it is used up.
pub(crate) fn print_table(budgets: &[Budget]) {
    let head = ["what", "measured", "lowest to highest", "compared with", "ratio", "limit", ""];
    let rows: Vec<[String; 7]> = budgets
        .iter()
        .map(|budget| {
            let (low, high) = budget.measured.range();
            [
                budget.what.to_owned(),
                format!("{} {}", number(budget.measured.median()), budget.unit),
                format!("{} to {}", number(low), number(high)),
                budget.reference.as_ref().map_or_else(String::new, |(what, figure)| {
                    format!("{} {} ({what})", number(figure.median()), budget.unit)
                }),
                budget.ratio_text(),
                budget.limit_text(),
                budget.verdict().to_owned(),
            ]
        })
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count(), 3]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} "));
        println!("|{}|", padded.collect::<Vec<_>>().join("|"));
    };
    line(head.to_vec());
    println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
    for row in &rows {
        line(row.iter().map(String::as_str).collect());
    }
    println!("\nHow much of each limit is used up (the line is the limit):\n");
    for budget in budgets {
        if let Some(used) = budget.used() {
            println!("{} {:5.0} %  {}", bar(used), used * 100.0, budget.what);
        }
    }
}

/// Thirty columns up to the limit, ten beyond.
fn bar(used: f64) -> String {
    let filled = (used * 30.0).round().clamp(0.0, 40.0) as usize;
    (0..40)
        .map(|column| match (column < filled, column) {
            (true, _) => '█',
            (false, 30) => '|',
            (false, _) => '·',
        })
        .collect()
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middling if middling >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(measured: &[f64], reference: &[f64], limit: Limit) -> Budget {
        let reference = Some(("other", Figure(reference.to_vec())));
        Budget { name: "n", what: "w", unit: "µs", measured: Figure(measured.to_vec()), reference, limit }
    }

    #[test]
    fn the_median_is_the_middle_round_or_between_the_two() {
        assert_eq!(Figure(vec![9.0, 1.0, 2.0]).median().to_bits(), 2.0_f64.to_bits());
        assert_eq!(Figure(vec![1.0, 4.0, 2.0, 9.0]).median().to_bits(), 3.0_f64.to_bits());
    }

    #[test]
    fn a_cost_is_within_up_to_its_multiple_and_a_rate_from_its_share() {
        assert_eq!(budget(&[25.0], &[10.0], Limit::AtMostTimes(2.5)).verdict(), "within");
        assert_eq!(budget(&[26.0], &[10.0], Limit::AtMostTimes(2.5)).verdict(), "OVER");
        assert_eq!(budget(&[70.0], &[100.0], Limit::AtLeastShare(0.7)).verdict(), "within");
        assert_eq!(budget(&[69.0], &[100.0], Limit::AtLeastShare(0.7)).verdict(), "OVER");
        assert_eq!(budget(&[141.0], &[], Limit::AtMost(140.0)).verdict(), "OVER");
        assert_eq!(budget(&[141.0], &[], Limit::Nothing).verdict(), "");
    }

    #[test]
    fn a_rate_of_nothing_uses_up_every_limit() {
        assert_eq!(budget(&[0.0], &[100.0], Limit::AtLeastShare(0.7)).verdict(), "OVER");
    }

    #[test]
    fn a_bar_is_full_at_its_limit_and_ends() {
        assert_eq!(bar(1.0).chars().filter(|mark| *mark == '█').count(), 30);
        assert_eq!(bar(9.0).chars().filter(|mark| *mark == '█').count(), 40);
        assert_eq!(bar(0.0).chars().nth(30), Some('|'));
    }
}
