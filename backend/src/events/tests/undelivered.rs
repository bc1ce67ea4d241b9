//! Events that an app was there for and said nothing of.

use super::acknowledgements::{an_event, say};
use super::*;
use crate::events::undelivered;
use crate::licenses::last_seen;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Gives the machine `a` a seat, and a session that is open from before an event until after it; the ids of the machine and
/// the event.
pub(super) async fn a_delivery(app: &TestApp, key: &str) -> (String, String) {
    let machine = activate(app, key, "a").await;
    be_there(app, key, "a").await;
    app.inner.clock.advance(Duration::from_secs(10));
    let event = an_event(app, key, 1).await;
    app.inner.clock.advance(Duration::from_secs(10));
    be_there(app, key, "a").await;
    (machine, event)
}

/// Shows that the app of a machine is there.
pub(super) async fn be_there(app: &TestApp, key: &str, machine: &str) {
    let body = json!({ "licenseKey": key, "machineId": machine });
    assert_eq!(app.post("/api/license/heartbeat", &body).await.status, 200);
    last_seen::write(&app.inner).await.unwrap();
}

#[test]
fn what_is_owed_a_word_is_counted_by_age() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let (_, first) = a_delivery(&app, &key).await;
        let counts = async || {
            let counts = undelivered::unacknowledged(&app.inner, app.inner.clock.now()).await.unwrap();
            (counts.within_an_hour, counts.within_a_day, counts.older)
        };
        assert_eq!(counts().await, (1, 0, 0));
        app.inner.clock.advance(Duration::from_secs(2 * 3600));
        happen(&app.inner, 2).await;
        be_there(&app, &key, "a").await;
        assert_eq!(counts().await, (1, 1, 0));
        app.inner.clock.advance(DAY);
        assert_eq!(counts().await, (0, 0, 2));
        let body = json!({ "eventId": first, "licenseKey": key, "machineId": "a" });
        assert_eq!(say(&app, &body).await.status, 200);
        assert_eq!(counts().await, (0, 0, 1));
        app.inner.clock.advance(7 * DAY);
        assert_eq!(counts().await, (0, 0, 0), "of what is older letters tell");
    });
}
