//! What people are told: in the application, by e-mail, by push; what they want to be told, and where.

mod admin;
pub mod by_time;
mod devices;
mod known;
mod letter;
mod outcomes;
mod preferences;
pub mod routes;
pub mod sending;
#[cfg(test)]
mod tests;
mod unsubscribe;
mod view;

use tollgate_domain::notifications::{Category, Facts, Template};

use crate::config::Config;
use crate::http::endpoint::Endpoint;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    [routes::routes(), preferences::routes(), devices::routes(), unsubscribe::routes(), admin::routes()].concat()
}

/// Where whoever is told of something goes from there: to where an invoice can be paid, to the account page for what is of
/// a plan, else to the company's own application.
fn url_of(config: &Config, template: Template, facts: &Facts) -> Option<String> {
    let to_pay = || facts.pay_url.clone().filter(|url| url.starts_with("https://"));
    if let Some(url) = to_pay().filter(|_| template.category() == Category::Payments) {
        return Some(url);
    }
    let is_of_plan = facts.subscription_id.is_some() && facts.pod_id.is_none();
    let account = || config.public_url.as_ref()?.join("/account").ok();
    let page = if is_of_plan { account() } else { config.app_url.clone() };
    page.map(String::from)
}
