//! The timetable: what is done by the clock, here and at the word of a scheduler outside.
//!
//! Every process has the whole timetable. When a job's tick has come, each process tries to insert the tick's row, and the
//! one that does runs the job ([`tollgate_domain::cron`] has the rules); `/api/cron/…` goes the same way. What a run has
//! done is in its row: when it began and ended, how, and a summary.

mod cleanup;
mod job;
pub mod routes;
pub mod runner;
#[cfg(test)]
mod tests;
pub mod timetable;
mod view;
