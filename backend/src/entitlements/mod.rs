//! What changes by itself in what customers may use: by time, and by the operator's files.

pub mod expire;
mod follow;
pub mod reapply_plans;
