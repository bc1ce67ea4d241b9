//! Stripe's own packages, against this Stripe.

use serde_json::json;

use super::super::{Api, SECRET_KEY};
use crate::node::{self, packages, programs};
use crate::python;
use crate::stripe::Stripe;

#[tokio::test]
async fn the_official_package_for_node_finds_nothing_amiss() {
    packages();
    let api = Api::start(&Stripe::fresh()).await;
    let mut node = node::start(&programs().join("stripe.js"), &[&api.base, SECRET_KEY]);
    let said = node.next_where("what was amiss", |said| said["amiss"].is_array()).await;
    assert_eq!(said["amiss"], json!([]));
}

#[tokio::test]
async fn the_official_package_for_python_finds_nothing_amiss() {
    let api = Api::start(&Stripe::fresh()).await;
    let said = python::run("drive_stripe.py", &[&api.base, SECRET_KEY]).await;
    assert_eq!(said["amiss"], json!([]));
}
