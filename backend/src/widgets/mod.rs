//! What signed-in users see and change of their widgets.

pub mod routes;
