//! The door, tried on both engines.

mod failures;
mod migrations;
mod records;
mod schema;
mod transactions;
mod unit_of_work;

use super::testing::Database;
use super::{Db, DbError, Engine};
use crate::on_each_engine;
