//! From what is sent to one form: what the readers of all objects share.

use crate::field::{Field, Overlay, view};
use crate::scalar::{Id, Label, Whole};

/// An object lacks what it cannot do without. Says what, never what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is missing or of an unexpected type")]
pub struct Unreadable {
    /// The member, as a path from the event.
    pub field: &'static str,
}

/// One of Stripe's objects as it is sent, to be made into one of ours.
pub(crate) trait Normalize: Clone + Overlay {
    /// Our form.
    type Output;

    /// Our form of it, unless it lacks what that cannot do without.
    fn normalize(self) -> Result<Self::Output, Unreadable>;

    /// The object before an event, which names those of its members that changed with their values before.
    fn before(mut self, previous: Self) -> Self {
        self.overlay(previous);
        self
    }
}

/// Refuses an object that has nothing in `field`.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Unreadable> {
    value.ok_or(Unreadable { field })
}

/// Refuses an object that has no id.
pub(crate) fn required_id(id: Field<Id>) -> Result<String, Unreadable> {
    required(id.text(), "data.object.id")
}

/// Whose an object is: a customer's (`cus_…`), else that of an account that buys (`acct_…`, in `customer_account`
/// since 2025-09-30), which is a customer by another name.
pub(crate) fn customer(customer: Field<Id>, account: Field<Id>) -> Option<String> {
    customer.text().or(account.text())
}

view! {
    /// The whole of an event around its object.
    struct Envelope<T> { data: Data<T>, }
}
view! {
    /// The object, and those of its members that changed with their values before.
    struct Data<T> { object: T, previous_attributes: T, }
}
view! {
    /// A page of a list that is part of an object.
    struct List<T> { data: Vec<T>, total_count: Whole, }
}
view! {
    /// What the shop wrote on an object.
    struct Metadata {
        user_id: Label, plan_id: Label, pod_id: Label, pod_id_in_camel_case "podId": Label, membership_id: Label,
    }
}

impl Metadata {
    /// The pod that it names, and the membership of it.
    pub(crate) fn pod(self) -> PodRef {
        PodRef {
            pod_id: self.pod_id.text().or(self.pod_id_in_camel_case.text()),
            membership_id: self.membership_id.text(),
        }
    }
}

/// Declares an object of ours, whose own JSON leaves out each field that has its default value, and takes its default
/// for each that is left out: objects are kept with the rows that they made, and later releases read those.
macro_rules! object {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(default, skip_serializing_if = "crate::normalize::is_default")] pub $field: $type,)*
        }
    };
}
pub(crate) use object;

object! {
    /// What metadata says of the pod that a subscription pays into.
    pub struct PodRef {
        /// `pod_…`; `metadata.pod_id`, else `metadata.podId`, when it is not blank.
        pub pod_id: Option<String>,
        /// `mbr_…`; `metadata.membership_id`, when it is not blank.
        pub membership_id: Option<String>,
    }
}

/// Whether `value` is what an absent one is taken for.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
