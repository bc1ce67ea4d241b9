//! Subscriptions that pay into a pod: they are no plans, whatever their price.

use tollgate_db::UnitOfWork;
use tollgate_stripe::Invoice;

use crate::subscriptions::Subscription;

/// Whether an invoice is of a pod's subscription, by its own word or by that of the subscription.
pub fn is_of_pod(work: &UnitOfWork, invoice: &Invoice) -> bool {
    let subscription = || work.get::<Subscription>(invoice.subscription.as_deref()?);
    invoice.pod.pod_id.is_some() || subscription().is_some_and(Subscription::is_of_pod)
}

impl Subscription {
    /// Whether it pays into a pod. Then it is no plan: nothing that a plan gives comes or goes by it.
    pub fn is_of_pod(&self) -> bool {
        self.pod_id.is_some()
    }
}
