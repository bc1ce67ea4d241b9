//! What was found, a line each.

use std::fmt;

use serde_json::Value;

use crate::differences::Difference;

/// Something that is not here as it is at Stripe.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// An event that never came, or was not kept.
    Missed {
        /// `evt_…`
        id: String,
        /// For example `invoice.paid`.
        event_type: String,
        /// What it is about.
        object_id: Option<String>,
        /// Whether it is in effect now.
        is_mended: bool,
    },
    /// An object of which nothing was known.
    Unknown {
        /// `sub_…`, `in_…`
        id: String,
        /// What Stripe says of it.
        status: Option<String>,
        /// Whether it is known now.
        is_mended: bool,
    },
    /// Something of an object that was known otherwise.
    Differs {
        /// Which object and field, and how it was and is.
        difference: Difference,
        /// Whether it is so here now.
        is_mended: bool,
    },
    /// An object that cannot be taken in.
    Unreadable {
        /// Its id, where that much can be read.
        id: Option<String>,
    },
}

impl Finding {
    /// Whether nothing is to be done about it any more.
    pub fn is_mended(&self) -> bool {
        match self {
            Self::Missed { is_mended, .. } | Self::Unknown { is_mended, .. } | Self::Differs { is_mended, .. } => {
                *is_mended
            }
            Self::Unreadable { .. } => false,
        }
    }

    /// What differences of objects come to: of one that was not known at all, one finding.
    pub(super) fn of(differences: Vec<Difference>, is_mended: bool) -> Vec<Self> {
        let mut findings = Vec::new();
        for of_object in differences.chunk_by(|a, b| a.object == b.object) {
            let id = of_object[0].object.clone();
            // An object that is known has a status.
            let status = of_object.iter().find(|difference| difference.field == "status");
            match status.filter(|status| status.was.is_null()) {
                Some(status) => {
                    let status = status.is.as_str().map(str::to_owned);
                    findings.push(Self::Unknown { id, status, is_mended });
                }
                None => findings.extend(
                    of_object.iter().map(|difference| Self::Differs { difference: difference.clone(), is_mended }),
                ),
            }
        }
        findings
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missed { id, event_type, object_id, .. } => {
                let object = object_id.as_deref().map_or(String::new(), |id| format!(" of {id}"));
                write!(f, "{id} {event_type}{object}: never came")?;
            }
            Self::Unknown { id, status, .. } => {
                write!(f, "{id}: not here, {} at Stripe", status.as_deref().unwrap_or("there"))?;
            }
            Self::Differs { difference: Difference { object, field, was, is }, .. } => {
                write!(f, "{object} {field}: {} here, {} at Stripe", text(was), text(is))?;
            }
            Self::Unreadable { id } => {
                return write!(f, "{}: cannot be read", id.as_deref().unwrap_or("an object of Stripe's"));
            }
        }
        if self.is_mended() { f.write_str("; mended") } else { Ok(()) }
    }
}

/// A text as it is, and anything else as JSON has it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differs(object: &str, field: &str, was: Value, is: Value) -> Difference {
        Difference { object: object.to_owned(), field: field.to_owned(), was, is }
    }

    #[test]
    fn each_difference_is_a_line_with_stripes_id() {
        let found = vec![
            differs("in_1", "attempts", json!(1), json!(2)),
            differs("in_1", "nextAttemptAt", json!("2026-01-05T09:00:00Z"), json!(null)),
            differs("sub_1", "planId", json!(null), json!("pro_monthly")),
            differs("sub_1", "status", json!(null), json!("active")),
        ];
        let lines =
            |is_mended| Finding::of(found.clone(), is_mended).iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            "in_1 attempts: 1 here, 2 at Stripe",
            "in_1 nextAttemptAt: 2026-01-05T09:00:00Z here, null at Stripe",
            "sub_1: not here, active at Stripe",
        ];
        assert_eq!(lines(false), expected);
        assert_eq!(lines(true), expected.map(|line| format!("{line}; mended")));
        let missed = Finding::Missed {
            id: "evt_1".to_owned(),
            event_type: "invoice.paid".to_owned(),
            object_id: Some("in_1".to_owned()),
            is_mended: false,
        };
        assert_eq!(missed.to_string(), "evt_1 invoice.paid of in_1: never came");
        assert_eq!(Finding::Unreadable { id: None }.to_string(), "an object of Stripe's: cannot be read");
    }
}
