//! The lock of [`super::progress`], under a name of its own: a test puts another in its place, to try every interleaving.

pub(super) use std::sync::Mutex;
