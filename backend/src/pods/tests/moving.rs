//! A date that is moved, and the subscriptions that follow at Stripe.

use rocket::http::{ContentType, Method};
use serde_json::json;
use tollgate_db::Db;

use super::joining::signed_in;
use super::retries::Scene;
use super::{DAY, day};
use crate::on_each_engine;
use crate::pods::moving;
use crate::testing::{START, TestResponse};

#[test]
fn a_date_that_is_moved_is_followed_by_each_subscription() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::of(db, "stripe", "4242").await;
        let path = format!("/api/pods/{}", scene.pod);
        let request = scene.app().client.req(Method::Patch, path).header(signed_in("user_1", "user"));
        let moved = request.header(ContentType::JSON).body(json!({ "nextContributionDate": day(10) }).to_string());
        let moved = TestResponse::of(moved).await;
        assert_eq!((moved.status, &moved.json()["nextContributionDate"]), (202, &json!(day(10))));
        // Stripe cannot be asked now.
        scene.api.fail(&[429]);
        assert_eq!(moving::follow(&scene.app().inner).await, Ok(0));
        assert_eq!(moving::follow(&scene.app().inner).await, Ok(1), "and then it can");
        assert_eq!(moving::follow(&scene.app().inner).await, Ok(0), "once");
        let asked = scene.api.changes().pop().unwrap();
        let (date, end) = ((START + 10 * DAY).to_string(), (START + 31 * DAY).to_string());
        assert_eq!((asked.value("trial_end"), asked.value("cancel_at")), (Some(&*date), Some(&*end)));
        assert_eq!(asked.value("proration_behavior"), Some("none"));
        assert!(asked.key.unwrap().ends_with(&format!(":date:{date}")));
        scene.hear().await;
        let member = scene.member().await;
        assert_eq!((&member["status"], &member["subscriptionStatus"]), (&json!("active"), &json!("trialing")));
        assert_eq!((&member["nextContributionDate"], &member["currentPeriodEnd"]), (&json!(day(10)), &json!(day(10))));

        scene.at(8 * DAY).await;
        assert_eq!(scene.member().await["contributionProgress"], 0, "nothing on the old date");
        scene.at(10 * DAY + 3600).await;
        let member = scene.member().await;
        assert_eq!((&member["contributionProgress"], &member["nextContributionDate"]), (&json!(1), &json!(day(17))));
        assert_eq!(scene.contribution().await["dueAt"], day(10));
        scene.at(24 * DAY + 3600).await;
        assert_eq!(
            (&scene.member().await["status"], &scene.member().await["totalContributed"]),
            (&json!("active"), &json!(15_000))
        );
        scene.at(31 * DAY).await;
        assert_eq!(scene.member().await["status"], "completed");
    });
}
