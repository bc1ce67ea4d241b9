//! The rows that an operator's attempt makes by being loaded: what is changed cannot be locked before it is there.

use std::collections::BTreeMap;

use tollgate_db::{DbError, Tx};
use tollgate_domain::apply::Touched;
use tollgate_domain::apply::made::{self, Names};
use tollgate_stripe::Observation;

use super::job::Job;

/// What the events that operators want may make, by their index in the batch. Of deliveries it knows nothing, and asks
/// nothing.
pub(super) struct Made {
    by_event: Vec<(usize, Names)>,
    missing: Names,
}

impl Made {
    /// To be called before the rows are loaded.
    pub(super) async fn before_load(
        tx: &mut Tx,
        batch: &[&Job],
        observed: &[(usize, &Observation)],
    ) -> Result<Self, DbError> {
        let wanted = observed.iter().filter(|(index, _)| batch[*index].mode.order().is_some());
        let by_event: Vec<_> = wanted
            .map(|(index, observation)| {
                let mut touched = Touched::default();
                touched.add(observation);
                (*index, made::names(&touched))
            })
            .collect();
        let all = by_event.iter().flat_map(|(_, names)| names).cloned().collect();
        Ok(Self { by_event, missing: made::missing(tx, all).await? })
    }

    /// To be called after that: what was made, each row with the first event that names it.
    pub(super) async fn after_load(self, tx: &mut Tx) -> Result<BTreeMap<usize, Names>, DbError> {
        let still_missing = made::missing(tx, self.missing.clone()).await?;
        let mut left: Names = self.missing.difference(&still_missing).cloned().collect();
        let mut made = BTreeMap::new();
        for (index, names) in self.by_event {
            let (of_event, others): (Names, Names) = left.into_iter().partition(|name| names.contains(name));
            left = others;
            if !of_event.is_empty() {
                made.insert(index, of_event);
            }
        }
        Ok(made)
    }
}
