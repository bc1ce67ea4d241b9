//! What desktop apps ask and say about the licence that they were given: the machine's seat, and whether it may work.

pub mod last_seen;
mod request;
pub mod routes;
mod view;
