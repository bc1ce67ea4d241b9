//! The text of a stream of events. <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::fmt::{Display, Write as _};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tollgate_domain::events::LoggedEvent;
use tollgate_domain::events::cursor::{Cursor, Kept};
use tollgate_domain::licenses::verdict::Verdict;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// The id of the event that says that nobody has the key. Who comes again with it is told to stop.
pub(super) const REFUSED: &str = "refused";

/// Text that is being put together.
#[derive(Debug, Default)]
pub(super) struct Frames(String);

/// An event as those see it who are told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LicenseLogEvent")]
pub(super) struct EventView {
    id: String,
    r#type: String,
    #[schemars(with = "Map<String, Value>")]
    data: Box<RawValue>,
    created_at: String,
}

/// What can be had of a log of which something is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Gap")]
pub(super) struct GapView {
    oldest: Option<String>,
    newest: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connected<'a> {
    cursor: String,
    license_status: &'a str,
    heartbeat_seconds: u64,
    server_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Heartbeat {
    server_time: String,
}

#[derive(Serialize)]
struct Refused {
    code: &'static str,
    message: &'static str,
}

impl Frames {
    /// How long a client should wait before it comes again.
    pub(super) fn retry(mut self, after: Duration) -> Self {
        write!(self.0, "retry: {}\n\n", after.as_millis()).expect("writing to a text does not fail");
        self
    }

    /// The beginning of a stream that goes on after `cursor`.
    pub(super) fn connected(self, cursor: Cursor, license_status: &str, heartbeat: Duration, now: Timestamp) -> Self {
        let data = Connected {
            cursor: cursor.to_string(),
            license_status,
            heartbeat_seconds: heartbeat.as_secs(),
            server_time: rfc3339(now),
        };
        self.frame(Some(&cursor), "connected", &data)
    }

    /// An event of the log.
    pub(super) fn event(self, cursor: Cursor, event: LoggedEvent) -> Self {
        let view = EventView::of(event);
        let event_type = view.r#type.clone();
        self.frame(Some(&cursor), &event_type, &view)
    }

    /// An event that is sent again. Without an id: whoever resumes has still seen what it had seen.
    pub(super) fn again(self, event: LoggedEvent) -> Self {
        let view = EventView::of(event);
        let event_type = view.r#type.clone();
        self.frame(None, &event_type, &view)
    }

    /// Something is missing. Without an id: who is cut off here has still seen what it had seen.
    pub(super) fn gap(self, kept: &Kept) -> Self {
        self.frame(None, "gap", &GapView::of(kept))
    }

    /// A sign of life that clients see.
    pub(super) fn heartbeat(self, now: Timestamp) -> Self {
        self.frame(None, "heartbeat", &Heartbeat { server_time: rfc3339(now) })
    }

    /// Nobody has the key, and why that may be.
    pub(super) fn refused(self, verdict: Verdict) -> Self {
        self.frame(Some(&REFUSED), REFUSED, &Refused { code: verdict.code(), message: verdict.message() })
    }

    fn frame(mut self, id: Option<&dyn Display>, event: &str, data: &impl Serialize) -> Self {
        let data = serde_json::to_string(data).expect("what is told has only texts as names");
        let text = &mut self.0;
        let written = (|| {
            if let Some(id) = id {
                writeln!(text, "id: {id}")?;
            }
            write!(text, "event: {event}\ndata: {data}\n\n")
        })();
        written.expect("writing to a text does not fail");
        self
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl EventView {
    /// What is told of an event.
    pub(super) fn of(event: LoggedEvent) -> Self {
        // A line's end would end the event; in JSON it can only stand between what counts.
        let data = if event.data.contains(['\n', '\r']) { event.data.replace(['\n', '\r'], " ") } else { event.data };
        Self {
            id: event.id,
            r#type: event.event_type,
            data: RawValue::from_string(data).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            created_at: rfc3339(event.created_at),
        }
    }
}

impl GapView {
    /// What can be had of a log.
    pub(super) fn of(kept: &Kept) -> Self {
        let ends = kept.ends();
        let text = |cursor: Cursor| cursor.to_string();
        Self { oldest: ends.map(|(oldest, _)| text(oldest)), newest: ends.map(|(_, newest)| text(newest)) }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_domain::events::cursor::Epoch;
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn kept() -> Kept {
        Kept { epoch: Epoch::of(["a"]), oldest: Some(2), newest: 3 }
    }

    fn event(data: &str) -> LoggedEvent {
        LoggedEvent {
            seq: 2,
            id: "sev_1".to_owned(),
            event_type: "plan_changed".to_owned(),
            data: data.to_owned(),
            created_at: from_unix(1_750_000_000).unwrap(),
        }
    }

    #[test]
    fn a_stream_is_text_as_event_source_reads_it() {
        let (kept, now) = (kept(), from_unix(1_750_000_000).unwrap());
        let text = Frames::default()
            .retry(Duration::from_millis(2500))
            .connected(kept.at(1), "active", Duration::from_secs(30), now)
            .gap(&kept)
            .event(kept.at(2), event(r#"{"tier":"pro"}"#))
            .heartbeat(now)
            .into_text();
        let expected = r#"retry: 2500

id: EPOCH.1
event: connected
data: {"cursor":"EPOCH.1","licenseStatus":"active","heartbeatSeconds":30,"serverTime":"2025-06-15T15:06:40Z"}

event: gap
data: {"oldest":"EPOCH.2","newest":"EPOCH.3"}

id: EPOCH.2
event: plan_changed
data: {"id":"sev_1","type":"plan_changed","data":{"tier":"pro"},"createdAt":"2025-06-15T15:06:40Z"}

event: heartbeat
data: {"serverTime":"2025-06-15T15:06:40Z"}

"#;
        assert_eq!(text, expected.replace("EPOCH", &kept.epoch.to_string()));
    }

    #[test]
    fn a_key_that_nobody_has_is_refused_by_an_event_with_an_id() {
        let text = Frames::default().refused(Verdict::Unknown).into_text();
        assert!(
            text.starts_with("id: refused\nevent: refused\ndata: {\"code\":\"NOT_FOUND\",\"message\":\""),
            "{text}"
        );
    }

    #[test]
    fn an_event_that_is_sent_again_moves_no_cursor() {
        let text = Frames::default().again(event("{}")).into_text();
        let expected = r#"event: plan_changed
data: {"id":"sev_1","type":"plan_changed","data":{},"createdAt":"2025-06-15T15:06:40Z"}

"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn an_event_is_one_line_however_its_data_was_written() {
        let text = Frames::default().event(kept().at(2), event("{\n  \"text\":\r\n\"a\\nb\" }")).into_text();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains(r#""a\nb""#), "{text}");
    }

    #[test]
    fn a_gap_of_which_nothing_is_kept_names_no_ends() {
        let text = Frames::default().gap(&Kept { oldest: None, ..kept() }).into_text();
        assert_eq!(text, "event: gap\ndata: {\"oldest\":null,\"newest\":null}\n\n");
    }
}
