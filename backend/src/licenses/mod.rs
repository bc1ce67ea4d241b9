//! What desktop apps ask and say about the licence that they were given: the machine's seat, and whether it may work. What
//! operators do with licences, and what their users see of them.

pub mod admin;
pub mod key_holder;
pub mod last_seen;
mod list;
pub mod mine;
pub(crate) mod request;
pub mod retention;
pub mod routes;
mod store;
#[cfg(test)]
mod testing;
mod view;
