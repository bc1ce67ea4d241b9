//! One customer: all that is theirs, and the newest of what happened to them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::Page;
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::audit::history::{self, ChangeView};
use tollgate_domain::customer_state::{self, CustomerState};
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::machines;
use tollgate_domain::licenses::view::MachineView;
use tollgate_domain::memberships::lists as memberships;
use tollgate_domain::memberships::view::MembershipView;
use tollgate_domain::notifications::view::{self as messages, MessageView};
use tollgate_domain::support::search as support;
use tollgate_domain::support::view::OperatorTicketHeadView;

use crate::app::App;
use crate::dead_letters::view::{self as dead_letters, DeadLetterView};
use crate::webhooks::view::{self as webhooks, EventView, Filter};

/// How many of each kind are shown.
const SHOWN: usize = 25;

/// A customer with what happened to it, of each kind the newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WholeCustomer")]
pub(super) struct WholeCustomer {
    #[serde(flatten)]
    customer: CustomerState,
    events: Vec<EventView>,
    changes: Vec<ChangeView>,
    messages: Vec<MessageView>,
    /// Of its user.
    tickets: Vec<OperatorTicketHeadView>,
    memberships: Vec<MembershipView>,
    machines: Vec<MachineView>,
    dead_letters: Vec<DeadLetterView>,
}

/// The customer `id`, if anything was heard of it.
pub(super) async fn load(tx: &mut Tx, app: &App, id: &str) -> Result<Option<WholeCustomer>, DbError> {
    let Some(customer) = customer_state::load(tx, id).await? else { return Ok(None) };
    let newest = Page { limit: SHOWN, after: None };
    let of_customer = Filter { customer: Some(id.to_owned()), ..Filter::default() };
    let tickets = match customer.user_id() {
        Some(user) => support::of_user(tx, user, &newest).await?.map(OperatorTicketHeadView::from).data,
        None => Vec::new(),
    };
    Ok(Some(WholeCustomer {
        messages: messages::of_customer(tx, id, customer.user_id(), SHOWN as i64).await?,
        tickets,
        customer,
        events: webhooks::list(tx, &of_customer, &newest).await?.map(EventView::from).data,
        changes: history::list(tx, &[id.to_owned()], &newest).await?.data,
        memberships: memberships::of_customer(tx, app.clock.now(), id, SHOWN as i64).await?,
        machines: machines_of(tx, app, id).await?,
        dead_letters: dead_letters::of_customer(tx, id, SHOWN as i64).await?,
    }))
}

/// The machines that hold seats of the customer's licence, the last one to take one first.
async fn machines_of(tx: &mut Tx, app: &App, id: &str) -> Result<Vec<MachineView>, DbError> {
    let licenses: Vec<License> = tx.load("customer_id", &BTreeSet::from([id.to_owned()]), Lock::None).await?;
    let licenses = licenses.into_iter().map(|license| license.id).collect();
    let machines = machines::in_seats_of(tx, &licenses, Lock::None).await?;
    let (now, stale_after) = (app.clock.now(), app.settings.machines_stale_after);
    let newest = machines.iter().rev().take(SHOWN);
    Ok(newest.map(|machine| MachineView::of(machine, now, stale_after)).collect())
}
