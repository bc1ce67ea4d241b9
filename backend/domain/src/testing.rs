//! What the tests of several modules share.

use std::slice;

/// Every order of `all`.
pub(crate) fn orders<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    if all.len() < 2 {
        return vec![all.to_vec()];
    }
    (0..all.len())
        .flat_map(|index| {
            let mut rest = all.to_vec();
            let first = rest.remove(index);
            orders(&rest).into_iter().map(move |rest| [slice::from_ref(&first), &rest[..]].concat())
        })
        .collect()
}
