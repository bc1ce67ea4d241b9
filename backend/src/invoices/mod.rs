//! What signed-in users see of their invoices.

pub mod routes;
