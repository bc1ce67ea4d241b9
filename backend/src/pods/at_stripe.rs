//! The calls that are made for pods, each under a key by which it is done once, and how their answers become ours.

use std::convert::Infallible;

use serde::Deserialize;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::audit::Cause;
use tollgate_domain::memberships::leaving::AtStripe;
use tollgate_domain::memberships::{Membership, joining};
use tollgate_domain::pods::Pod;
use tollgate_shared::Timestamp;
use tollgate_stripe::{ObjectType, Observation};
use tracing::error;

use super::no_pod;
use crate::app::App;
use crate::billing::answers;
use crate::http::error::ApiError;
use crate::stripe_api::error::{CallError, Refusal};
use crate::stripe_api::form::Form;
use crate::stripe_api::{Answer, Call, Client};

/// Stripe, asked for pods.
#[derive(Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) app: &'a App,
    pub(super) stripe: &'a Client,
    /// Whether a job asks: users' calls go first.
    is_job: bool,
}

/// An object of which only the name matters.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    #[serde(default)]
    pub(super) currency: Option<String>,
}

#[derive(Deserialize)]
struct ListOfNamed {
    data: Vec<Named>,
}

impl<'a> Teller<'a> {
    /// 503 without a key of Stripe's.
    pub(super) fn open(app: &'a App) -> Result<Self, ApiError> {
        let stripe = app.stripe.as_ref().ok_or_else(ApiError::stripe_not_configured)?;
        Ok(Self { app, stripe, is_job: false })
    }

    /// The same for a job.
    pub(super) fn in_background(self) -> Self {
        Self { is_job: true, ..self }
    }

    /// A call, behind those of users if a job makes it.
    pub(super) fn urgent(self, call: Call) -> Call {
        if self.is_job { call.in_background() } else { call }
    }

    /// The price of a pod, which is made with its product when somebody first joins.
    pub(super) async fn price(self, pod: &Pod) -> Result<String, ApiError> {
        if let Some(price) = &pod.price_id {
            return Ok(price.clone());
        }
        let name = pod.name_at_stripe();
        let form = Form::default().with("id", &name).with("name", &pod.name).with("metadata[pod_id]", &pod.id);
        let call = Call::post("products.create", &["products"]).with(form);
        match self.stripe.once(&call, &format!("tollgate:{}:product", pod.id)).await {
            Err(error) if error.refusal().is_some_and(exists_already) => {}
            made => drop(made?),
        }
        let (interval, count) = pod.schedule().cadence().interval();
        let form = Form::default()
            .with("product", &name)
            .with("currency", &pod.currency)
            .with("unit_amount", pod.amount)
            .with("recurring[interval]", interval)
            .with("recurring[interval_count]", count)
            .with("lookup_key", &name)
            .with("metadata[pod_id]", &pod.id);
        let call = Call::post("prices.create", &["prices"]).with(form);
        match self.stripe.once(&call, &format!("tollgate:{}:price", pod.id)).await {
            // Its name is taken: by itself, made longer ago than Stripe remembers keys.
            Err(error) if error.refusal().is_some_and(|refusal| refusal.status.as_u16() == 400) => {
                self.price_by_name(&name).await?.ok_or_else(|| error.into())
            }
            made => Ok(named(&made?)?.id),
        }
    }

    async fn price_by_name(self, name: &str) -> Result<Option<String>, ApiError> {
        let form = Form::default().with("lookup_keys[0]", name).with("active", true).with("limit", 1);
        let answer = self.stripe.read(&Call::get("prices.list", &["prices"]).with(form)).await?;
        let ListOfNamed { data } = serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())?;
        Ok(data.into_iter().next().map(|price| price.id))
    }

    /// Asks for the subscription of a membership that was begun, and gives it as it is now.
    pub(super) async fn subscribe(
        self,
        pod: &Pod,
        membership: &Membership,
        customer: &str,
        price: &str,
    ) -> Result<Observation, CallOrApiError> {
        // Stripe refuses an anchor that is later than the first period would end by itself.
        let first_date = if membership.is_first_date_near(pod) { "billing_cycle_anchor" } else { "trial_end" };
        let form = Form::default()
            .with("customer", customer)
            .with("items[0][price]", price)
            .with(first_date, membership.first_date.timestamp())
            .with("proration_behavior", "none")
            .with_some("cancel_at", pod.ends_at().map(|at| at.timestamp()))
            .with_some("default_payment_method", membership.payment_method_id.as_ref())
            .with("off_session", true)
            .with("metadata[pod_id]", &pod.id)
            .with("metadata[membership_id]", &membership.id)
            .with("metadata[user_id]", &membership.user_id);
        let call = Call::post("subscriptions.create", &["subscriptions"]).with(form);
        let answer = self.stripe.once(&call, &format!("tollgate:{}:subscription", membership.id)).await?;
        Ok(self.as_it_is(&answer).await?)
    }

    /// The subscription of an answer; one that was said before may have changed since.
    async fn as_it_is(self, answer: &Answer) -> Result<Observation, ApiError> {
        if !answer.is_replayed {
            return self.seen(ObjectType::Subscription, answer);
        }
        self.subscription(&named(answer)?.id).await
    }

    /// A subscription as it is at Stripe now.
    pub(super) async fn subscription(self, id: &str) -> Result<Observation, ApiError> {
        let call = Call::get("subscriptions.read", &["subscriptions", id]);
        self.seen(ObjectType::Subscription, &self.stripe.read(&self.urgent(call)).await?)
    }

    /// The subscription that was made for a membership before, if any was.
    pub(super) async fn made_before(self, membership: &Membership, price: &str) -> Result<Option<String>, ApiError> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
            #[serde(default)]
            metadata: Metadata,
        }
        #[derive(Default, Deserialize)]
        struct Metadata {
            membership_id: Option<String>,
        }
        #[derive(Deserialize)]
        struct ListOfMade {
            data: Vec<Made>,
        }
        let form = Form::default()
            .with_some("customer", membership.customer_id.as_ref())
            .with("price", price)
            .with("status", "all")
            .with("limit", 100);
        let answer = self.stripe.read(&Call::get("subscriptions.list", &["subscriptions"]).with(form)).await?;
        let ListOfMade { data } = serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())?;
        let is_its = |made: &Made| made.metadata.membership_id.as_deref() == Some(&*membership.id);
        Ok(data.into_iter().find(is_its).map(|made| made.id))
    }

    /// Does what is to be done with a membership's subscription; gives it as it then is, where anything was.
    pub(super) async fn carry_out(self, membership_id: &str, what: &AtStripe) -> Result<Option<Observation>, ApiError> {
        let (subscription, call, number) = match what {
            AtStripe::Nothing => return Ok(None),
            AtStripe::End { subscription, number } => {
                let form = Form::default().with("invoice_now", false).with("prorate", false);
                (
                    subscription,
                    Call::delete("subscriptions.cancel", &["subscriptions", subscription]).with(form),
                    number,
                )
            }
            AtStripe::EndAt { subscription, at, number } => {
                let at = at.map_or_else(String::new, |at| at.timestamp().to_string());
                let form = Form::default().with("cancel_at", at).with("proration_behavior", "none");
                (subscription, Call::post("subscriptions.update", &["subscriptions", subscription]).with(form), number)
            }
        };
        let key = format!("tollgate:{membership_id}:leave:{number}");
        let seen = match self.stripe.once(&self.urgent(call), &key).await {
            Ok(answer) => self.as_it_is(&answer).await?,
            // It has ended already, or is not there any more.
            Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => {
                self.subscription(subscription).await?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some(seen))
    }

    /// Moves the end of a subscription's period to `date`, from which its later ones count. Stripe takes no other anchor.
    pub(super) async fn move_date(
        self,
        membership_id: &str,
        subscription: &str,
        date: Timestamp,
        ends_at: Option<Timestamp>,
    ) -> Result<Observation, ApiError> {
        let form = Form::default()
            .with("trial_end", date.timestamp())
            .with("proration_behavior", "none")
            .with_some("cancel_at", ends_at.map(|at| at.timestamp()));
        let call = Call::post("subscriptions.update", &["subscriptions", subscription]).with(form);
        let key = format!("tollgate:{membership_id}:date:{}", date.timestamp());
        let answer = self.stripe.once(&self.urgent(call), &key).await?;
        self.as_it_is(&answer).await
    }

    /// The object in Stripe's answer.
    pub(super) fn seen(self, object_type: ObjectType, answer: &Answer) -> Result<Observation, ApiError> {
        answers::seen(self.app, object_type, None, &answer.body, answer.at)
    }

    /// Takes in what Stripe shows, by the same rules as an event; whether it could be written. Where it could not, its
    /// event will bring it.
    pub(super) async fn take_in(self, seen: &Observation, membership_id: &str) -> Result<bool, ApiError> {
        let mut touched = Touched::default();
        touched.add(seen);
        touched.memberships.insert(membership_id.to_owned());
        let settings = &self.app.settings;
        let written = self.app.write(&touched, |work| {
            apply::apply_because(work, settings, seen, Cause::user(None));
            Ok::<_, Infallible>(())
        });
        if let Err(failure) = written.await {
            error!("Stripe did what was asked for a pod, and it could not be written: {failure}");
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives a seat back for which Stripe refused a subscription.
    pub(super) async fn give_back(self, membership: &Membership) {
        let touched = Touched::pod(&membership.pod_id);
        let given = self.app.write(&touched, |work| {
            joining::give_back(work, &membership.id);
            Ok::<_, Infallible>(())
        });
        // Else it is free within the hour.
        if let Err(failure) = given.await {
            error!("could not give a seat back: {failure}");
        }
    }

    /// Notes what Stripe is asked for now, before it is.
    pub(super) async fn note_asked(self, membership: &Membership, customer: &str, price: &str) -> Result<(), ApiError> {
        let touched = Touched::pod(&membership.pod_id);
        let noted = self.app.write(&touched, |work| {
            let pod: Pod = work.get_cloned(&membership.pod_id).ok_or_else(no_pod)?;
            if pod.price_id.is_none() {
                work.insert(Pod { price_id: Some(price.to_owned()), ..pod });
            }
            joining::note_asked(work, &membership.id, customer);
            Ok::<_, ApiError>(())
        });
        noted.await?;
        Ok(())
    }
}

/// Why a subscription was not made: Stripe's own word may mean more than one thing.
pub(super) enum CallOrApiError {
    Call(CallError),
    Api(ApiError),
}

impl From<CallError> for CallOrApiError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<ApiError> for CallOrApiError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// The name of the object in an answer.
pub(super) fn named(answer: &Answer) -> Result<Named, ApiError> {
    serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())
}

fn exists_already(refusal: &Refusal) -> bool {
    refusal.code.as_deref() == Some("resource_already_exists")
}
