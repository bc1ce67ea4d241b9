//! What the tests of licences share.

use serde_json::Value;
use tollgate_domain::apply::Touched;
use tollgate_domain::licenses::seats::{self, ActivateError, MachineInfo};

use crate::testing::TestApp;

impl TestApp {
    /// The id of a customer's licence.
    pub(crate) async fn license_of(&self, customer: &str) -> String {
        let state = self.get(&format!("/v1/customers/{customer}")).await.json();
        state["licenses"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Gives a machine a seat; gives its id.
    pub(crate) async fn seat(&self, license_id: &str, fingerprint_hash: &str) -> String {
        let info = MachineInfo {
            fingerprint_hash: fingerprint_hash.to_owned(),
            name: Some("Ada's".to_owned()),
            platform: Some("linux".to_owned()),
            app_version: Some("1.0.0".to_owned()),
        };
        let stale_after = self.inner.settings.machines_stale_after;
        let touched = Touched::license(license_id);
        let activated = self.inner.write(&touched, |work| {
            Ok::<_, ActivateError>(seats::activate(work, stale_after, license_id, &info)?.machine.id)
        });
        activated.await.unwrap().0
    }

    /// The log of a licence from its newest event of a type on: the data of those of that type.
    pub(crate) async fn log_of(&self, license_id: &str, event_type: &str) -> Vec<Value> {
        let mut tx = self.inner.read().await.unwrap();
        let rows: Vec<(String,)> = tx
            .sql("SELECT CAST(data AS TEXT) FROM license_events WHERE license_id = $1 AND type = $2 ORDER BY seq")
            .bind(license_id)
            .bind(event_type)
            .all()
            .await
            .unwrap();
        rows.into_iter().map(|(data,)| serde_json::from_str(&data).unwrap()).collect()
    }
}
