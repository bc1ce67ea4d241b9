//! Which events are ours to act on.

use std::collections::BTreeSet;

use tollgate_stripe::Event;

use crate::stripe_api::config::StripeConfig;

/// Which events are ours to act on.
#[derive(Clone, Debug, Default)]
pub(super) struct EventFilter {
    /// The deployment's mode; none accepts either.
    livemode: Option<bool>,
    /// The connected accounts whose events count.
    accounts: BTreeSet<String>,
}

impl EventFilter {
    pub(super) fn of(config: &StripeConfig) -> Self {
        Self { livemode: config.livemode, accounts: config.accounts.clone() }
    }

    /// Why `event` is stored without effect, if it is not ours.
    pub(super) fn ignore_reason(&self, event: &Event) -> Option<&'static str> {
        let other_account = event.account.as_ref().is_some_and(|account| !self.accounts.contains(account));
        let other_mode = matches!((self.livemode, event.livemode), (Some(ours), Some(its)) if ours != its);
        match (other_account, other_mode, event.thin) {
            (true, _, _) => Some("other_account"),
            (false, true, _) => Some("other_mode"),
            (false, false, true) => Some("thin_event"),
            (false, false, false) => None,
        }
    }
}
