//! The queue of dead letters, on both engines.

mod acts;
mod letters;
mod lists;
mod upgraded;
