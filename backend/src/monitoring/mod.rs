//! For whoever watches the process: whether it lives, whether it can work, and its metrics.

pub mod exposition;
pub mod health;
pub mod metrics;
pub mod numbers;
