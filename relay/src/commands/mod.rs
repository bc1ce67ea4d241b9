//! What `tollgate-relay` does besides serving.

pub mod journal;
