//! What was sold by a session of which neither an invoice nor the shop's own word says what that was: Stripe lists its items.

use std::convert::Infallible;

use serde::Deserialize;
use tollgate_db::DbError;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::Cause;
use tollgate_domain::entitlements;
use tollgate_domain::purchases::{self, Item, Unread};
use tollgate_shared::log_safe::LogSafe;
use tollgate_stripe::PriceRef;
use tracing::{error, warn};

use crate::app::App;
use crate::differences::Difference;
use crate::http::error::ApiError;
use crate::stripe_api::error::CallError;
use crate::stripe_api::form::Form;
use crate::stripe_api::list::OBJECTS_MAX;
use crate::stripe_api::{Call, Client};
use crate::write::WriteError;

/// How many are taken up at a time.
const PORTION: i64 = 50;

/// A session's items.
#[derive(Deserialize)]
struct Items {
    data: Vec<LineItem>,
}

#[derive(Deserialize)]
struct LineItem {
    price: Option<Price>,
    quantity: Option<i64>,
}

#[derive(Deserialize)]
struct Price {
    id: String,
    lookup_key: Option<String>,
    product: Option<String>,
}

impl LineItem {
    fn item(self) -> Option<Item> {
        let Price { id, lookup_key, product } = self.price?;
        Some(Item { price: PriceRef { id: Some(id), lookup_key, product }, quantity: self.quantity })
    }
}

/// Why it is not known what was sold.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Write(#[from] WriteError<Infallible>),
}

/// Asks Stripe for what was sold, where that is due, until a call fails that may do later: then the next run goes on. How many
/// were asked for.
pub(crate) async fn read_due(app: &App) -> Result<usize, DbError> {
    let Some(stripe) = &app.stripe else { return Ok(0) };
    let due = purchases::due(&mut app.read().await?, app.clock.now(), PORTION).await?;
    let mut read = 0;
    for purchase in due {
        match items_of(app, stripe, &purchase, false).await {
            Ok(_) => read += 1,
            Err(Failure::Write(WriteError::Database(failure))) => return Err(failure),
            Err(Failure::Write(_)) => {}
            Err(Failure::Call(failure)) => {
                let id = LogSafe(&purchase.session_id);
                warn!(session.id = %id, "could not read what {id} has sold, which is tried again: {failure}");
                break;
            }
        }
    }
    Ok(read)
}

/// The same for what one customer has bought, due or not. Gives what is seen otherwise by that.
pub(super) async fn read_of(app: &App, stripe: &Client, customer_id: &str) -> Result<Vec<Difference>, ApiError> {
    let wanted = purchases::wanted_of(&mut app.read().await?, customer_id).await?;
    let mut differences = Vec::new();
    for purchase in wanted {
        match items_of(app, stripe, &purchase, true).await {
            Ok(mut found) => differences.append(&mut found),
            Err(Failure::Call(failure)) => return Err(failure.into()),
            Err(Failure::Write(failure)) => return Err(failure.into()),
        }
    }
    Ok(differences)
}

/// Takes a purchase up, and takes in what Stripe says was sold by it. What it does not say for good is not asked again.
async fn items_of(app: &App, stripe: &Client, purchase: &Unread, at_once: bool) -> Result<Vec<Difference>, Failure> {
    let Unread { id, session_id, customer_id, account } = purchase;
    let touched = Touched::customer(customer_id);
    let taken_up = app.write(&touched, |work| Ok(purchases::take_up(work, id, at_once))).await?.0;
    if !taken_up {
        return Ok(Vec::new());
    }
    let form = Form::default().with("limit", OBJECTS_MAX);
    let call = Call::get("checkout.line_items", &["checkout", "sessions", session_id, "line_items"]).with(form);
    let call = call.in_account(account.as_deref());
    let items = match stripe.read(&if at_once { call } else { call.in_background() }).await {
        // It is of a test mode whose data is gone, or of another account.
        Err(failure) if failure.refusal().is_some_and(|refusal| refusal.status.as_u16() == 404) => {
            let id = LogSafe(session_id);
            error!(session.id = %id, "Stripe has no session {id}, so that nobody knows what it has sold");
            Vec::new()
        }
        answer => read(&answer?.body)?,
    };
    let differences = app.differences_by(&touched, |work| {
        purchases::learn_items(work, id, items.clone());
        entitlements::follow(work, &app.settings, Cause::system(), customer_id);
    });
    Ok(differences.await?)
}

fn read(body: &[u8]) -> Result<Vec<Item>, CallError> {
    let items: Items =
        serde_json::from_slice(body).map_err(|_| CallError::UnexpectedResponse("it is no list of what was sold"))?;
    Ok(items.data.into_iter().filter_map(LineItem::item).collect())
}
