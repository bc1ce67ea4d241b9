//! The public edge of Tollgate: no Stripe event gets past it unverified, and none that it answered for is lost.

pub mod body;
pub mod delivery;
