//! The functional core of the backend: the product's rows and the rules by which they change, by noun.
//!
//! A rule is given the rows that it may touch in a [`UnitOfWork`](tollgate_db::UnitOfWork), with the present and the
//! randomness, and changes them in memory; whoever called it writes them. So nothing here waits for a network or starts
//! a task, and each rule is a plain function.
//!
//! The modules in their order: each uses those before it and none after.
//!
//! | | |
//! |---|---|
//! | [`toml_file`], [`plans`] | files that operators write; what is on sale |
//! | [`sightings`] | what was seen that somebody should hear of |
//! | [`history`] | which snapshot of an object is the last |
//! | [`sealer`], [`deployment_keys`] | encrypts what is kept; the deployment's own keys |
//! | [`audit`], [`events`] | what changed, for people and for apps |
//! | [`cron`] | when a job is due, and whose run of it is |
//! | [`reconciliation`] | what of Stripe's is read to compare, and what is still to be |
//! | [`dead_letters`] | what a person should look at |
//! | [`payment_methods`], [`charges`], [`payments`], [`subscriptions`], [`customers`], [`invoices`] | what Stripe tells, in rows |
//! | [`purchases`] | what was bought for good |
//! | [`pods`], [`contributions`], [`payouts`], [`memberships`] | who saves together, what they owe, have paid and were paid out |
//! | [`licenses`], [`api_keys`], [`widgets`] | what customers are given |
//! | [`idempotency`] | which requests were done, and how they were answered |
//! | [`sessions`], [`acknowledgements`] | whether the app of a machine is there; what it says of what it was told |
//! | [`releases`] | versions of the app, and who gets which |
//! | [`terminals`] | what machines of a licence tell each other |
//! | [`console`] | operators who signed in at the console |
//! | [`support`] | what customers ask of people, and what those answer |
//! | [`settings`] | what the rules go by beside the rows |
//! | [`users`] | whoever signed in |
//! | [`customer_state`] | everything about one customer |
//! | [`notifications`] | what people are told |
//! | [`alerts`] | what operators are told that is amiss |
//! | [`entitlements`] | who may use what |
//! | [`user_state`] | what a user has, over all of its customers |
//! | [`analytics`] | how things went, how licences are, what is out of the ordinary |
//! | [`apply`] | what an observation does, in its order |

pub mod acknowledgements;
pub mod alerts;
pub mod analytics;
pub mod api_keys;
pub mod apply;
pub mod audit;
pub mod charges;
pub mod console;
pub mod contributions;
pub mod cron;
pub mod customer_state;
pub mod customers;
pub mod dead_letters;
pub mod deployment_keys;
pub mod entitlements;
pub mod events;
pub mod history;
pub mod idempotency;
pub mod invoices;
pub mod licenses;
pub mod memberships;
pub mod notifications;
pub mod payment_methods;
pub mod payments;
pub mod payouts;
pub mod plans;
pub mod pods;
pub mod purchases;
pub mod reconciliation;
pub mod releases;
pub mod sealer;
pub mod sessions;
pub mod settings;
pub mod sightings;
pub mod subscriptions;
pub mod support;
pub mod terminals;
#[cfg(test)]
mod testing;
pub mod toml_file;
pub mod user_state;
pub mod users;
pub mod widgets;
