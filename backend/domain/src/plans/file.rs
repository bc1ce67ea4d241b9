//! `plans.toml`, judged strictly: every mistake is named with its plan and key, all at once.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::Path;

use toml::{Table, Value};

use crate::plans::{Plan, PlanFile, Plans};
use crate::toml_file::{self, FileError};

/// What entitles where the file does not say.
const ENTITLED_STATUSES: [&str; 3] = ["trialing", "active", "past_due"];
/// Statuses that can entitle. The two others, `canceled` and `incomplete_expired`, are those of subscriptions that ended.
const LIVE_STATUSES: [&str; 6] = ["trialing", "active", "past_due", "unpaid", "paused", "incomplete"];
/// Stripe's billing intervals, and ours for what is bought for good.
const INTERVALS: [&str; 5] = ["day", "week", "month", "year", "once"];
/// Ten years: past every dispute over an unpaid invoice.
const PAST_DUE_DAYS_MAX: i64 = 3650;
/// Twelve digits, as much as Stripe takes in any currency.
const UNIT_AMOUNT_MAX: i64 = 999_999_999_999;
/// Machines of one licence are listed in one answer.
const MAX_ACTIVATIONS_MAX: i64 = 10_000;

impl Plans {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::parse(&toml_file::read(path)?)
    }

    /// Reads the text of such a file.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let table = toml_file::table(text)?;
        let mut problems = Problems::default();
        let file = plan_file(table, &mut problems);
        match file {
            Some(file) if problems.0.is_empty() => Ok(Self::new(file)),
            _ => Err(FileError::Unusable(problems.0)),
        }
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, place: &str, key: &str, what: &str) {
        self.0.push(format!("{place}`{key}` {what}"));
    }
}

fn plan_file(table: Table, problems: &mut Problems) -> Option<PlanFile> {
    let mut top = Entries { place: String::new(), table, problems };
    let default_tier = top.required_text("default_tier");
    let entitled_statuses = top.statuses("entitled_statuses");
    let past_due_days = top.number("past_due_days", 0..=PAST_DUE_DAYS_MAX).and_then(|days| u32::try_from(days).ok());
    let tables = top.tables("plan");
    top.finish();
    let plans: Vec<_> =
        tables.into_iter().enumerate().filter_map(|(index, table)| plan(index + 1, table, problems)).collect();
    refuse_duplicates(&plans, problems);
    Some(PlanFile { default_tier: default_tier?, entitled_statuses, past_due_days, plans })
}

/// The plan of the `place`-th `[[plan]]`.
fn plan(number: usize, table: Table, problems: &mut Problems) -> Option<Plan> {
    let place = match table.get("id").and_then(Value::as_str) {
        Some(id) => format!("plan `{id}`: "),
        None => format!("plan number {number}: "),
    };
    let mut entries = Entries { place, table, problems };
    let id = entries.required_text("id");
    let tier = entries.required_text("tier");
    let name = entries.text("name");
    let stripe_price = entries.text("stripe_price");
    let lookup_key = entries.text("lookup_key");
    let stripe_product = entries.text("stripe_product");
    if [&stripe_price, &lookup_key, &stripe_product].into_iter().all(Option::is_none) {
        entries.refuse("stripe_price", "is missing, or `lookup_key` or `stripe_product` in its place");
    }
    let currency = entries.currency("currency");
    let unit_amount = entries.number("unit_amount", 0..=UNIT_AMOUNT_MAX);
    if unit_amount.is_some() && currency.is_none() {
        entries.refuse("currency", "is missing: an amount needs one");
    }
    let interval = entries.one_of("interval", &INTERVALS);
    let max_activations = entries.number("max_activations", 0..=MAX_ACTIVATIONS_MAX).unwrap_or(1);
    let per_quantity = entries.flag("per_quantity");
    let features = entries.features("features");
    entries.finish();
    let id = id?;
    Some(Plan {
        name: name.unwrap_or_else(|| id.clone()),
        id,
        tier: tier?,
        stripe_price,
        lookup_key,
        stripe_product,
        currency,
        unit_amount,
        interval,
        max_activations,
        per_quantity,
        features,
    })
}

/// A price that fits two plans would make a customer's access depend on which was written first.
fn refuse_duplicates(plans: &[Plan], problems: &mut Problems) {
    let mut owners = HashMap::<(&str, &str), &str>::new();
    for plan in plans {
        let place = format!("plan `{}`: ", plan.id);
        let keys = [
            ("id", Some(&plan.id)),
            ("stripe_price", plan.stripe_price.as_ref()),
            ("lookup_key", plan.lookup_key.as_ref()),
            ("stripe_product", plan.stripe_product.as_ref()),
        ];
        for (key, value) in keys {
            let Some(value) = value else { continue };
            match owners.insert((key, value), &plan.id) {
                Some(_) if key == "id" => problems.add(&place, key, "is also that of another plan"),
                Some(other) => problems.add(&place, key, &format!("is also that of plan `{other}`")),
                None => {}
            }
        }
    }
}

/// The entries of one table, taken out one by one; what is left at the end should not be there.
struct Entries<'a> {
    /// Which table it is, to go before a key in a problem.
    place: String,
    table: Table,
    problems: &'a mut Problems,
}

impl Entries<'_> {
    fn refuse(&mut self, key: &str, what: &str) {
        self.problems.add(&self.place, key, what);
    }

    fn required_text(&mut self, key: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.refuse(key, "is missing");
        }
        self.text(key)
    }

    /// A text that says something.
    fn text(&mut self, key: &str) -> Option<String> {
        let text = match self.table.remove(key)? {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => None,
        };
        if text.is_none() {
            self.refuse(key, "is not a text, or blank");
        }
        text
    }

    fn number(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let number = self.table.remove(key)?.as_integer().filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(key, &format!("is not a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.table.remove(key) else { return false };
        let flag = value.as_bool();
        if flag.is_none() {
            self.refuse(key, "is not `true` or `false`");
        }
        flag.unwrap_or_default()
    }

    fn currency(&mut self, key: &str) -> Option<String> {
        let code = self.text(key)?.to_ascii_lowercase();
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
        if !is_code {
            self.refuse(key, "is not an ISO 4217 code such as `usd`");
        }
        is_code.then_some(code)
    }

    fn one_of(&mut self, key: &str, choices: &[&str]) -> Option<String> {
        let choice = self.text(key)?;
        let is_choice = choices.contains(&&*choice);
        if !is_choice {
            self.refuse(key, &format!("is not one of `{}`", choices.join("`, `")));
        }
        is_choice.then_some(choice)
    }

    fn statuses(&mut self, key: &str) -> BTreeSet<String> {
        let Some(value) = self.table.remove(key) else {
            return ENTITLED_STATUSES.iter().map(ToString::to_string).collect();
        };
        let status = |value: &Value| value.as_str().filter(|status| LIVE_STATUSES.contains(status)).map(str::to_owned);
        let statuses: Option<BTreeSet<_>> = value.as_array().and_then(|list| list.iter().map(status).collect());
        if statuses.is_none() {
            self.refuse(key, &format!("is not a list of `{}`", LIVE_STATUSES.join("`, `")));
        }
        statuses.unwrap_or_default()
    }

    fn tables(&mut self, key: &str) -> Vec<Table> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let table = |value: &Value| value.as_table().cloned();
        let tables: Option<Vec<_>> = value.as_array().and_then(|list| list.iter().map(table).collect());
        if tables.is_none() {
            self.refuse(key, "is not a list of tables: write `[[plan]]` above each");
        }
        tables.unwrap_or_default()
    }

    fn features(&mut self, key: &str) -> serde_json::Map<String, serde_json::Value> {
        let Some(value) = self.table.remove(key) else { return serde_json::Map::new() };
        if let Some(serde_json::Value::Object(features)) = json(value) {
            return features;
        }
        self.refuse(key, "is not a table of values that JSON has too");
        serde_json::Map::new()
    }

    fn finish(self) {
        for key in self.table.keys() {
            self.problems.add(&self.place, key, "is no key that is known here");
        }
    }
}

/// The same in JSON, where times are texts; `None` for a number that JSON lacks.
fn json(value: Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => serde_json::Number::from_f64(number)?.into(),
        Value::Boolean(flag) => flag.into(),
        Value::Datetime(at) => at.to_string().into(),
        Value::Array(list) => list.into_iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Value::Table(table) => {
            let entries: Option<serde_json::Map<_, _>> =
                table.into_iter().map(|(key, value)| Some((key, json(value)?))).collect();
            entries?.into()
        }
    })
}
