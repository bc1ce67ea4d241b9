//! When operators are told that something is amiss, and how often.

use std::path::Path;
use std::sync::Arc;

use chrono::Duration;
use tollgate_domain::alerts::thresholds::Thresholds;
use tollgate_shared::env::Env;

/// How often operators are told of what goes on, where nothing else is said.
const REPEAT_HOURS: i64 = 4;
/// A week: what is told less often is forgotten.
const REPEAT_HOURS_MAX: i64 = 168;

/// When, and how often.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// `ALERTS_FILE`, read.
    pub thresholds: Arc<Thresholds>,
    /// `ALERT_REPEAT_HOURS`.
    pub repeat_after: Duration,
}

impl AlertsConfig {
    /// Reads them; a value that cannot be used is noted in `env`.
    pub(super) fn from_env(env: &Env) -> Self {
        let what = format!("a number of hours from 1 to {REPEAT_HOURS_MAX}");
        let hours = env.read("ALERT_REPEAT_HOURS", &what, |text| {
            text.parse().ok().filter(|hours| (1..=REPEAT_HOURS_MAX).contains(hours))
        });
        let thresholds = env.text("ALERTS_FILE").map(|path| Thresholds::load(Path::new(path)));
        let thresholds = thresholds.transpose().map_err(|why| env.refuse("ALERTS_FILE", &why.to_string()));
        Self {
            thresholds: Arc::new(thresholds.ok().flatten().unwrap_or_default()),
            repeat_after: Duration::hours(hours.unwrap_or(REPEAT_HOURS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_in_the_file_of_thresholds_is_said_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.toml");
        std::fs::write(&path, "[NoWebhooks]\nhours = 0\n[Nothing]\n").unwrap();
        let variables = [("ALERTS_FILE", path.to_str().unwrap()), ("ALERT_REPEAT_HOURS", "169")];
        let env = Env::from_vars(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        AlertsConfig::from_env(&env);
        let said = env.finish().unwrap_err().to_string();
        let [file, hours]: [&str; 2] = said.lines().collect::<Vec<_>>().try_into().unwrap();
        assert!(
            hours.starts_with("ALERT_REPEAT_HOURS") && file.contains("hours") && file.contains("`Nothing`"),
            "{said}"
        );
    }
}
