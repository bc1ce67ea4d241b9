//! The tables of the product: every version of them, for both engines.

use tollgate_db::{Migration, Migrations};

/// The files of `backend/migrations/`.
pub static MIGRATIONS: Migrations = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

#[cfg(test)]
pub(crate) mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrade;
