//! Tollgate's private backend: turns each Stripe event, once in effect, into who may use what, and answers questions
//! about it.
//!
//! This crate is the imperative shell: HTTP, Stripe's API, time. What an event does is in `tollgate-domain`, how rows are
//! read and written in `tollgate-db`. Modules import only those that stand before them here:
//!
//! | module | what |
//! |---|---|
//! | `http_client`, [`stripe_api`], [`channels`], [`config`] | how we ask others over HTTP; calls to Stripe; messages to users, by e-mail and push; what the process is told by its environment |
//! | [`templates`] | the texts of notifications |
//! | [`delay_queue`], [`tasks`] | things that wait for their time; background tasks, supervised |
//! | [`bells`] | how streams of events learn that there is something to read |
//! | [`last_seen`], [`measured`] | what was heard of machines and is not written yet; what the process measures of itself |
//! | [`tally`] | what changes come to in the metrics |
//! | [`relays`] | what only relays know, asked of their private listeners |
//! | [`app`], [`mod@write`] | the one piece of state that all share; the one way in which rows are changed |
//! | [`differences`] | what is not here as Stripe has it |
//! | [`http`] | what every route shares |
//! | [`account`], [`console`] | the customers' page, the operators' page |
//! | [`openapi`] | what the routes say of themselves, and a page to read it |
//! | [`audit`] | what operators did |
//! | [`deployment_keys`] | what leases are signed and fingerprints hashed with |
//! | [`api_keys`], [`customers`], [`events`], [`invoices`], [`licenses`], [`notifications`], [`payment_methods`], [`payments`], [`subscriptions`], [`users`], [`widgets`], [`webhooks`] | capabilities: their routes, jobs and calls |
//! | [`analytics`] | how things went, hour by hour; how licences are; what is out of the ordinary |
//! | [`dead_letters`] | what a person should look at, and what operators do with it |
//! | [`terminals`] | what machines of a licence see of and tell each other |
//! | [`releases`] | versions of the app: feeds, files, and what operators publish |
//! | [`support`] | what customers ask of people, and what those answer |
//! | [`billing`] | what users change at Stripe |
//! | [`pods`] | groups that save together |
//! | [`entitlements`], [`monitoring`] | what changes by time and by the operator's files; health and metrics |
//! | [`alerts`] | what is amiss, found and told |
//! | [`reconciliation`] | what webhooks did not bring, found and mended |
//! | [`cron`] | the timetable: what is done by the clock |
//! | [`overview`] | what operators see of several capabilities at once |
//! | [`server`], [`commands`] | the HTTP server with all of its routes; the command line |

pub mod account;
pub mod alerts;
pub mod analytics;
pub mod api_keys;
pub mod app;
pub mod audit;
pub mod bells;
pub mod billing;
pub mod channels;
pub mod commands;
pub mod config;
pub mod console;
pub mod cron;
pub mod customers;
pub mod dead_letters;
pub mod delay_queue;
pub mod deployment_keys;
pub mod differences;
pub mod entitlements;
pub mod events;
pub mod http;
pub(crate) mod http_client;
pub mod invoices;
pub mod last_seen;
pub mod licenses;
pub mod measured;
pub mod monitoring;
pub mod notifications;
pub mod openapi;
pub mod overview;
pub mod payment_methods;
pub mod payments;
pub mod pods;
pub mod reconciliation;
pub mod relays;
pub mod releases;
pub mod schema;
pub mod server;
pub mod stripe_api;
pub mod subscriptions;
pub mod support;
pub mod tally;
pub mod tasks;
pub mod templates;
pub mod terminals;
#[cfg(test)]
pub(crate) mod testing;
pub mod users;
pub mod webhooks;
pub mod widgets;
pub mod write;
