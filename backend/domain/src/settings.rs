//! What the rules go by beside the rows: the operator's files, keys and randomness.

use std::sync::Arc;

use chrono::Duration;
use tollgate_shared::Rng;

use crate::contributions::tries::RetryOwner;
use crate::plans::Plans;
use crate::sealer::Sealer;
use crate::widgets::defaults::WidgetDefaults;

/// What the rules go by. Cheap to clone.
#[derive(Clone)]
pub struct Settings {
    /// What is on sale.
    pub plans: Arc<Plans>,
    /// The widgets that a new customer starts with.
    pub widgets: Arc<WidgetDefaults>,
    /// Encrypts the reveal-once copy of a key.
    pub sealer: Arc<Sealer>,
    /// Who tries again what was not paid into a pod.
    pub pod_retries: RetryOwner,
    /// For ids and keys.
    pub rng: Rng,
    /// The deployment's mode, where it has one: a key is `tg_live_` by it where an event does not say its own.
    pub livemode: Option<bool>,
    /// How long a machine has to be silent before its seat may be given to another one.
    pub machines_stale_after: Duration,
    /// After how many failed attempts a payer is told that something has to be done.
    pub alert_attempts: i64,
}
