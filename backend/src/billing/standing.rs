//! How a user stands at Stripe before something is sold: what was bought there already and not told here, and what still waits
//! for its first payment.

use tollgate_domain::apply::Touched;
use tollgate_domain::plans::Plan;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::user_state::UserState;
use tollgate_stripe::ObjectType;

use super::desk::{Desk, no_subscription};
use super::sync::subscriptions_of;
use crate::http::error::ApiError;
use crate::stripe_api::Call;
use crate::stripe_api::action::Action;
use crate::stripe_api::error::Refusal;

impl Desk<'_> {
    /// Takes in the subscriptions of the user's customers as Stripe has them: an event may be late, or what came of a call
    /// unwritten. A customer whom Stripe has no longer is let go.
    pub(super) async fn look_at_subscriptions(&mut self) -> Result<(), ApiError> {
        for customer in self.user_state().await?.customers {
            match subscriptions_of(self.app, self.stripe, &customer.id, customer.account.as_deref()).await? {
                Some(seen) => drop(self.app.take_in(&seen, Touched::customer(&customer.id)).await?),
                None => self.let_go(&customer).await?,
            }
        }
        Ok(())
    }

    /// Of what waits for its first payment one may go on to wait, which is given: that of `wanted`, a plan and the card that it
    /// is to be paid with. Each other one could be paid for beside it, and is ended.
    pub(super) async fn end_what_waits(
        &self,
        state: &UserState,
        wanted: Option<(&Plan, Option<&str>)>,
    ) -> Result<Option<Subscription>, ApiError> {
        let is_wanted = |row: &Subscription| {
            wanted.is_some_and(|(plan, card)| {
                row.plan_id.as_ref() == Some(&plan.id) && (card.is_none() || card == row.default_payment_method())
            })
        };
        let mut kept = None;
        for row in state.waiting() {
            if kept.is_none() && is_wanted(row) {
                kept = Some(row.clone());
                continue;
            }
            match self.end_waiting(row).await {
                Err(gone) if gone.code == no_subscription().code => {}
                ended => ended?,
            }
        }
        Ok(kept)
    }

    /// Ends a subscription whose first payment has not come. Its invoice is voided before, so that nobody pays for it just now.
    async fn end_waiting(&self, row: &Subscription) -> Result<(), ApiError> {
        let (account, action) = (row.account.as_deref(), Action::of_state(&["end what waits", &row.id]));
        if let Some(invoice) = &row.latest_invoice_id {
            let call = Call::post("invoices.void", &["invoices", invoice, "void"]).in_account(account);
            match self.stripe.act(&call, &action.step("void")).await {
                Ok(voided) => {
                    let seen = self.seen(ObjectType::Invoice, account, &voided.body, voided.at)?;
                    self.app.take_in(&[seen], Touched::default()).await?;
                }
                // It is void already, or paid.
                Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.look_again(row).await?.0.is_waiting() {
            return Ok(());
        }
        let call = Call::delete("subscriptions.cancel", &["subscriptions", &row.id]);
        let rules = (|row: &Subscription| !row.is_live(), |row: &Subscription| row.cancellation(true));
        self.change(row, call, &action.step("end"), None, rules).await.map(drop)
    }
}
