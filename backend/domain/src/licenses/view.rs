//! A licence and its machines as those see them who may ask about them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::licenses::License;
use crate::licenses::machines::{self, Machine};
use crate::plans::Plans;

/// A licence as an internal service sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomerLicense")]
pub struct LicenseView {
    id: String,
    key: String,
    status: String,
    tier: String,
    max_activations: i64,
    activations: usize,
    expires_at: Option<String>,
}

/// A licence as whoever holds its key sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "License")]
pub struct HeldLicenseView {
    key: String,
    #[serde(flatten)]
    license: LicenseEventView,
}

/// A licence as its log tells of it. The key is not repeated there: the log is read by whoever shows the key.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LicenseEvent")]
pub struct LicenseEventView {
    id: String,
    status: String,
    tier: String,
    max_activations: i64,
    activations: usize,
    expires_at: Option<String>,
    plan_id: Option<String>,
    features: Map<String, Value>,
    grace_ends_at: Option<String>,
    machines: Vec<MachineView>,
}

/// A machine that a licence is active on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Machine")]
pub struct MachineView {
    id: String,
    name: Option<String>,
    platform: Option<String>,
    app_version: Option<String>,
    activated_at: String,
    last_seen_at: String,
    stale: bool,
}

impl LicenseView {
    /// What is shown of `row`, which is active on so many machines.
    pub fn of(row: License, activations: usize) -> Self {
        Self {
            id: row.id,
            key: row.key,
            status: row.status,
            tier: row.tier,
            max_activations: row.max_activations,
            activations,
            expires_at: row.expires_at.map(rfc3339),
        }
    }
}

impl HeldLicenseView {
    /// What is shown of `row`, with the machines that hold its seats.
    pub fn of<'m>(
        row: &License,
        plans: &Plans,
        machines: impl IntoIterator<Item = &'m Machine>,
        now: Timestamp,
        stale_after: Duration,
    ) -> Self {
        Self { key: row.key.clone(), license: LicenseEventView::of(row, plans, machines, now, stale_after) }
    }
}

impl LicenseEventView {
    /// What is told of `row`, with the machines that hold its seats.
    pub fn of<'m>(
        row: &License,
        plans: &Plans,
        machines: impl IntoIterator<Item = &'m Machine>,
        now: Timestamp,
        stale_after: Duration,
    ) -> Self {
        let plan = row.plan_id.as_deref().and_then(|id| plans.by_id(id));
        let machines: Vec<_> = machines.into_iter().map(|machine| MachineView::of(machine, now, stale_after)).collect();
        Self {
            id: row.id.clone(),
            status: row.status.clone(),
            tier: row.tier.clone(),
            max_activations: row.max_activations,
            activations: machines.len(),
            expires_at: row.expires_at.map(rfc3339),
            plan_id: row.plan_id.clone(),
            features: plan.map(|plan| plan.features.clone()).unwrap_or_default(),
            grace_ends_at: row.grace_ends_at.map(rfc3339),
            machines,
        }
    }
}

impl MachineView {
    /// What is shown of `row`; it is stale when nothing was heard of it for `stale_after`.
    pub fn of(row: &Machine, now: Timestamp, stale_after: Duration) -> Self {
        Self {
            id: row.id.clone(),
            name: row.name.clone(),
            platform: row.platform.clone(),
            app_version: row.app_version.clone(),
            activated_at: rfc3339(row.activated_at),
            last_seen_at: rfc3339(row.last_seen_at),
            stale: row.is_stale(now, stale_after),
        }
    }
}

/// The licence of a customer.
pub async fn of_customer(tx: &mut Tx, customer_id: &str) -> Result<Vec<LicenseView>, DbError> {
    let rows: Vec<License> = tx.load("customer_id", &BTreeSet::from([customer_id.to_owned()]), Lock::None).await?;
    let ids = rows.iter().map(|row| row.id.clone()).collect();
    let mut activations = BTreeMap::<String, usize>::new();
    for machine in machines::in_seats_of(tx, &ids, Lock::None).await? {
        *activations.entry(machine.license_id).or_default() += 1;
    }
    let view = |row: License| {
        let activations = activations.get(&row.id).copied().unwrap_or_default();
        LicenseView::of(row, activations)
    };
    Ok(rows.into_iter().map(view).collect())
}
