//! Whether an API key is good, for the services that take one.

use rocket::serde::json::Json;
use rocket::{State, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::App;
use crate::http::auth::Internal;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use tollgate_domain::api_keys::key::ApiKey;
use tollgate_domain::api_keys::store::{self, HeldKey};
use tollgate_domain::plans::Plans;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![endpoint!(verify, "Whether an API key is good, and what its customer may use")]
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ApiKeyToVerify")]
struct Verify {
    key: String,
}

/// What a key is good for, or why it is not.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ApiKeyVerdict")]
enum Verdict {
    #[serde(rename_all = "camelCase")]
    Good {
        valid: bool,
        key_id: String,
        stripe_customer_id: String,
        user_id: Option<String>,
        tier: String,
        features: Map<String, Value>,
    },
    Bad {
        valid: bool,
        code: &'static str,
    },
}

#[post("/v1/api-keys/verify", data = "<body>")]
async fn verify(_caller: Internal, body: JsonBody<Verify>, app: &State<App>) -> Result<Json<Verdict>, ApiError> {
    // A mistyped key is known by its checksum, without a look-up.
    let Some(key) = ApiKey::parse(&body.0.key) else { return Ok(Json(Verdict::bad("unknown"))) };
    let mut tx = app.read().await?;
    Ok(Json(match store::find_by_hash(&mut tx, &key.hash()).await? {
        None => Verdict::bad("unknown"),
        Some(held) if held.revoked_at.is_some_and(|at| at <= app.clock.now()) => Verdict::bad("revoked"),
        Some(held) => Verdict::good(held, &app.config.plans),
    }))
}

impl Verdict {
    fn bad(code: &'static str) -> Self {
        Self::Bad { valid: false, code }
    }

    fn good(held: HeldKey, plans: &Plans) -> Self {
        // After a subscription's end its plan is still the current one, but its tier is no longer the customer's.
        let plan = held.plan_id.as_deref().and_then(|id| plans.by_id(id)).filter(|plan| plan.tier == held.tier);
        Self::Good {
            valid: true,
            key_id: held.id,
            stripe_customer_id: held.customer_id,
            user_id: held.user_id,
            features: plan.map(|plan| plan.features.clone()).unwrap_or_default(),
            tier: held.tier,
        }
    }
}
