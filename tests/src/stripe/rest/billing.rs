//! What calls do with customers and subscriptions.

use serde_json::Value;

use super::{Answer, Asked, Refused, form};
use crate::stripe::shape::{self, ApiVersion};
use crate::stripe::{Object, Stripe};

impl Stripe {
    /// Does what a call asks for, and gives the object that it answers with.
    pub(super) fn called(&mut self, asked: &Asked, version: ApiVersion) -> Answer {
        let (method, path) = asked.call.split_once(' ').ok_or_else(Refused::missing)?;
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match (method, &parts[..]) {
            ("GET", ["v1", "checkout", "sessions", id, "line_items"]) => {
                self.sessions.get(*id).map(shape::session_items).ok_or_else(Refused::missing)
            }
            ("GET", ["v1", "customers", id]) => self.show(self.customers.get(*id).cloned(), version),
            ("GET", ["v1", "subscriptions", id]) => self.show_subscription(id, version),
            ("POST", ["v1", "subscriptions", id]) => {
                self.update_subscription(id, asked)?;
                self.show_subscription(id, version)
            }
            ("DELETE", ["v1", "subscriptions", id]) => {
                self.running(id)?;
                self.cancel(id);
                self.show_subscription(id, version)
            }
            _ => Err(Refused::invalid(404, None, "Unrecognized request URL")),
        }
    }

    fn show(&self, object: Option<impl Into<Object>>, version: ApiVersion) -> Answer {
        let object = object.ok_or_else(Refused::missing)?;
        Ok(shape::object(&object.into(), version, self.livemode))
    }

    fn show_subscription(&self, id: &str, version: ApiVersion) -> Result<Value, Refused> {
        self.show(self.subscriptions.get(id).cloned(), version)
    }

    /// A subscription that has not ended: nothing else can be changed.
    fn running(&self, id: &str) -> Result<(), Refused> {
        let subscription = self.subscriptions.get(id).ok_or_else(Refused::missing)?;
        if subscription.status.is_final() {
            // Stripe knows a subscription that has ended no longer, but for reading.
            return Err(Refused::missing());
        }
        Ok(())
    }

    fn update_subscription(&mut self, id: &str, asked: &Asked) -> Result<(), Refused> {
        self.running(id)?;
        match (asked.value("cancel_at_period_end"), form::get(&asked.form, "cancel_at")) {
            (Some("true"), _) => self.schedule_cancel(id),
            (Some("false"), _) | (None, Some("")) => self.undo_cancel(id),
            _ => {}
        }
        Ok(())
    }
}
