//! What a history keeps the states of, and what it has to know of them.

use serde::Serialize;

/// The version of a form that has had no field added yet.
pub(super) const FIRST_VERSION: u32 = 1;

/// What a history needs to know of the state it keeps.
pub trait State: Clone + PartialEq + Serialize {
    /// The version of the state's form: one more with each field that a release adds. States are kept for long, and one
    /// that was read without a field is not one in which the field is empty.
    const VERSION: u32 = FIRST_VERSION;

    /// What a release that knew only `version` of the form would have read.
    #[must_use]
    fn at_version(self, _version: u32) -> Self {
        self
    }

    /// Whether nothing can come after this state.
    fn is_terminal(&self) -> bool;
    /// Whether we know what this state means; access follows the last that we do.
    fn is_understood(&self) -> bool {
        true
    }
}
