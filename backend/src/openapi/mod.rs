//! What the backend says of its own routes: the OpenAPI document, and a page to read it.

pub mod document;
pub mod page;
pub mod routes;
mod shared;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
