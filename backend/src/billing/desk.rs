//! Where a user's request and Stripe meet: whose things they are, what a call is named by, and how its answer becomes ours.

use std::collections::BTreeSet;
use std::convert::Infallible;

use rocket::http::Status;
use tollgate_db::UnitOfWork;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::audit::Cause;
use tollgate_domain::subscriptions::requests::Impossible;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_domain::subscriptions::{self, Subscription};
use tollgate_domain::user_state::{self, UserState, UsersCustomer};
use tollgate_shared::{Timestamp, ids};
use tollgate_stripe::{Object, ObjectType, Observation};
use tracing::error;

use super::answers::{self, unreadable};
use super::press::Asked;
use super::view::Changed;
use crate::app::App;
use crate::http::auth::User;
use crate::http::context::RequestContext;
use crate::http::error::ApiError;
use crate::http::idempotency::Attempt;
use crate::stripe_api::action::Action;
use crate::stripe_api::error::{CallError, Refusal};
use crate::stripe_api::form::Form;
use crate::stripe_api::{Answer, Call, Client};

/// What a user's request is carried out with.
pub(super) struct Desk<'a> {
    pub(super) app: &'a App,
    pub(super) stripe: &'a Client,
    pub(super) user: &'a User,
    context: &'a RequestContext,
    route: &'static str,
    pub(super) attempt: Attempt,
    /// Customers of the user whom Stripe has said not to have.
    gone: BTreeSet<String>,
}

impl<'a> Desk<'a> {
    /// Opens it for a request; 503 without a key of Stripe's.
    pub(super) fn open(asked: Asked<'a>, route: &'static str) -> Result<Self, ApiError> {
        let Asked { app, user, context, attempt } = asked;
        let stripe = app.stripe.as_ref().ok_or_else(ApiError::stripe_not_configured)?;
        Ok(Self { app, stripe, user, context, route, attempt, gone: BTreeSet::new() })
    }

    /// What the user has.
    pub(super) async fn user_state(&self) -> Result<UserState, ApiError> {
        let app = self.app;
        let mut tx = app.read().await?;
        let mut state = user_state::load(&mut tx, &app.settings, app.clock.now(), &self.user.id).await?;
        state.customers.retain(|customer| !self.gone.contains(&customer.id));
        Ok(state)
    }

    /// Looks at a customer whom Stripe has refused as not being there. From here on the user has others, or is none; for good
    /// where it was deleted.
    pub(super) async fn let_go(&mut self, customer: &UsersCustomer) -> Result<(), ApiError> {
        let account = customer.account.as_deref();
        if let Some(seen) = answers::customer(self.app, self.stripe, &customer.id, account).await? {
            self.app.take_in(&[seen], Touched::customer(&customer.id)).await?;
        }
        self.gone.insert(customer.id.clone());
        Ok(())
    }

    /// What the user is subscribed to, as Stripe has shown it: where only its invoices tell of it so far, Stripe is asked.
    /// Asked again by the same name it is what it was, though there may be another one by now.
    pub(super) async fn current(&self) -> Result<Subscription, ApiError> {
        let state = self.user_state().await?;
        let subscription = match self.attempt.subject() {
            Some(id) => state.subscriptions.into_iter().find(|row| row.id == id),
            None => state.subscription,
        };
        let subscription = subscription.ok_or_else(no_subscription)?;
        self.attempt.note_subject(self.app, &subscription.id).await?;
        if subscription.history.is_empty() {
            return Ok(self.look_again(&subscription).await?.0);
        }
        Ok(subscription)
    }

    /// The action that is asked for: by the caller's name for it, else by what is asked and the state that it changes.
    pub(super) fn action(&self, asked: &[&str]) -> Action {
        if self.attempt.is_named() {
            return self.action_of_request();
        }
        Action::of_state(&[&[self.route, &*self.user.id], asked].concat())
    }

    /// The same for what each request without a name asks anew, whatever the state.
    pub(super) fn action_of_request(&self) -> Action {
        Action::named(&[self.attempt.action()])
    }

    /// The action of a call that changes nothing: each is one of its own, whatever it is asked for.
    pub(super) fn look(&self) -> Action {
        Action::named(&[&ids::new_id("look", self.app.clock.now(), &self.app.rng)])
    }

    /// Whether this was asked before, by the same name, and not answered. What now forbids it may then be what it has
    /// brought about: its event was here before its answer.
    pub(super) fn is_repeat(&self) -> bool {
        self.attempt.is_repeat()
    }

    /// A subscription as it is known here.
    pub(super) fn shown(&self, subscription: &Subscription) -> Changed {
        Changed::of(PlannedSubscriptionView::of(subscription, &self.app.settings.plans))
    }

    /// Does something to `subscription`, takes in how it then is, and gives that. What Stripe finds out of date is looked
    /// at again: it may be as it was to become (`is_done`), else `rule` says why it can no longer be.
    pub(super) async fn change<T>(
        &self,
        subscription: &Subscription,
        call: Call,
        action: &Action,
        reason: Option<&str>,
        (is_done, rule): (impl Fn(&Subscription) -> bool, impl Fn(&Subscription) -> Result<T, Impossible>),
    ) -> Result<Changed, ApiError> {
        match self.stripe.act(&call.in_account(subscription.account.as_deref()), action).await {
            Ok(answer) if answer.is_replayed => {
                // What it was when it was first said; it may have changed since.
                match self.read(subscription).await {
                    Ok(now) => {
                        Ok(self.take_in(&seen_of(self, subscription, &now)?, Some(Cause::user(reason))).await?.1)
                    }
                    Err(_) => Ok(self.unwritten(&seen_of(self, subscription, &answer)?)),
                }
            }
            Ok(answer) => Ok(self.take_in(&seen_of(self, subscription, &answer)?, Some(Cause::user(reason))).await?.1),
            Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => {
                let now = self.read(subscription).await?;
                let (row, changed) = self.take_in(&seen_of(self, subscription, &now)?, None).await?;
                match row {
                    Some(row) if is_done(&row) => Ok(changed),
                    Some(row) => Err(why_not(rule(&row).err(), error)),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A subscription as Stripe has it now; 404 where it has it no longer.
    async fn read(&self, subscription: &Subscription) -> Result<Answer, ApiError> {
        self.read_so(subscription, Form::default()).await
    }

    /// The same with what `form` asks for beside.
    pub(super) async fn read_so(&self, subscription: &Subscription, form: Form) -> Result<Answer, ApiError> {
        let read = Call::get("subscriptions.read", &["subscriptions", &subscription.id]).with(form);
        match self.stripe.read(&read.in_account(subscription.account.as_deref())).await {
            Err(error) if error.refusal().is_some_and(|refusal| refusal.has_no("id")) => Err(no_subscription()),
            read => Ok(read?),
        }
    }

    /// Takes in how `subscription` is at Stripe now.
    pub(super) async fn look_again(&self, subscription: &Subscription) -> Result<(Subscription, Changed), ApiError> {
        let now = self.read(subscription).await?;
        let (row, changed) = self.take_in(&seen_of(self, subscription, &now)?, None).await?;
        // Nothing was asked of Stripe that could wait to be written.
        row.map(|row| (row, changed)).ok_or_else(ApiError::database_unavailable)
    }

    /// Takes in a subscription that Stripe shows, which `cause` has brought about or else Stripe, by the same rules as an
    /// event. Where that cannot be written, gives no row, and what Stripe said: its event, or `sync`, will bring it.
    pub(super) async fn take_in(
        &self,
        seen: &Observation,
        cause: Option<Cause<'_>>,
    ) -> Result<(Option<Subscription>, Changed), ApiError> {
        let mut touched = Touched::default();
        touched.add(seen);
        let settings = &self.app.settings;
        let written = self.app.write(&touched, |work| {
            apply::apply_because(work, settings, seen, cause.unwrap_or(Cause::stripe(seen)));
            Ok::<_, Infallible>(object_id(seen).and_then(|id| work.get_cloned::<Subscription>(id)))
        });
        match written.await {
            // Several things were done within one second, and only its events will tell which was the last.
            Ok((Some(row), _)) if !shows(&row, seen) => Ok((Some(row), self.unwritten(seen))),
            Ok((Some(row), _)) => {
                let changed = self.shown(&row);
                Ok((Some(row), changed))
            }
            Ok((None, _)) => Err(unreadable()),
            Err(failure) => {
                let request_id = &self.context.request_id;
                error!(%request_id, "Stripe did what was asked, and it could not be written: {failure}");
                Ok((None, self.unwritten(seen)))
            }
        }
    }

    /// The object in Stripe's answer.
    pub(super) fn seen(
        &self,
        object_type: ObjectType,
        account: Option<&str>,
        body: &[u8],
        at: Timestamp,
    ) -> Result<Observation, ApiError> {
        answers::seen(self.app, object_type, account, body, at)
    }

    /// What Stripe says of a subscription, without our rows.
    fn unwritten(&self, observation: &Observation) -> Changed {
        let plans = &*self.app.settings.plans;
        let mut work = UnitOfWork::new(self.app.clock.now(), self.app.rng.clone());
        let mut row = Subscription::placeholder(work.now(), "", "");
        if let Object::Subscription { after, ended, .. } = &observation.object {
            subscriptions::apply(&mut work, plans, observation, None, after, *ended);
            row = work.get_cloned(&after.id).unwrap_or(row);
        }
        Changed { pending: true, ..self.shown(&row) }
    }
}

/// `subscription` as Stripe's answer has it.
pub(super) fn seen_of(desk: &Desk<'_>, subscription: &Subscription, answer: &Answer) -> Result<Observation, ApiError> {
    let account = subscription.account.as_deref();
    let seen = desk.seen(ObjectType::Subscription, account, &answer.body, answer.at)?;
    if object_id(&seen) == Some(&subscription.id) { Ok(seen) } else { Err(unreadable()) }
}

/// Whether a row is as `seen` shows it.
fn shows(row: &Subscription, seen: &Observation) -> bool {
    match (&seen.object, row.history.last()) {
        (Object::Subscription { after, .. }, Some(last)) => {
            last.state == *after || last.second > seen.seen_at.timestamp()
        }
        _ => false,
    }
}

fn object_id(observation: &Observation) -> Option<&str> {
    match &observation.object {
        Object::Subscription { after, .. } => Some(&after.id),
        _ => None,
    }
}

/// 404: there is none to be changed.
pub(super) fn no_subscription() -> ApiError {
    ApiError::new(Status::NotFound, "no_subscription", "there is no subscription; make one at the checkout")
}

/// 409: nobody is to pay twice.
pub(super) fn already_subscribed() -> ApiError {
    ApiError::new(Status::Conflict, "already_subscribed", "there is a subscription already; change its plan instead")
}

/// 409: Stripe does not do it.
pub(super) fn not_as_it_stands() -> ApiError {
    ApiError::new(
        Status::Conflict,
        "change_not_possible",
        "Stripe does not do this with the subscription as it stands; look at it again, then decide",
    )
}

/// Why Stripe refused what was asked of a subscription, which was then looked at again: by our own rule, else as it stands.
pub(super) fn why_not(impossible: Option<Impossible>, error: CallError) -> ApiError {
    match (impossible, error.refusal()) {
        (Some(impossible), _) => impossible.into(),
        (None, Some(refusal)) if refusal.param.as_deref() == Some("proration_date") => {
            let message = "`prorationDate` is not within the present period; have the change previewed again";
            ApiError::invalid_parameter("prorationDate", message)
        }
        (None, Some(refusal)) if refusal.is_of_state() => not_as_it_stands(),
        _ => error.into(),
    }
}

impl From<Impossible> for ApiError {
    fn from(why: Impossible) -> Self {
        let code = match why {
            Impossible::AlreadyCanceled => "already_canceled",
            Impossible::NotCancelScheduled => "not_cancel_scheduled",
            Impossible::SamePlan => "same_plan",
        };
        Self::new(Status::Conflict, code, why.to_string())
    }
}
