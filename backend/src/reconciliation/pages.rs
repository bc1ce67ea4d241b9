//! One page: what Stripe lists, and what of it is not so here.

use std::convert::Infallible;
use std::slice;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tollgate_domain::apply::Touched;
use tollgate_domain::reconciliation::{Kind, Stretch};
use tollgate_shared::{RequestId, Timestamp};
use tollgate_stripe::{Event, ObjectType, Observation};

use super::finding::Finding;
use super::{Failure, Reconciliation};
use crate::differences::{self, object_id};
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;
use crate::stripe_api::list::{OBJECTS_MAX, Page};
use crate::webhooks::inbox::{BATCH_MAX, IntakeError, Mode, Outcome};
use crate::write::WriteError;

/// How many objects are taken in together: their customers' rows are held as long, and webhooks wait for those.
const TOGETHER: usize = 25;

/// A page that was read and taken in.
pub(super) struct PageRead {
    pub(super) objects: usize,
    pub(super) findings: Vec<Finding>,
    /// The last of it, and when that was made, if there is more.
    pub(super) more_after: Option<(String, i64)>,
}

impl Reconciliation {
    /// Reads the newest page of a stretch, and takes it in.
    pub(super) async fn try_page(&self, stretch: &Stretch) -> Result<PageRead, Failure> {
        let (name, path) = match stretch.kind {
            Kind::Events => ("events.list", "events"),
            Kind::Subscriptions => ("subscriptions.list", "subscriptions"),
            Kind::Invoices => ("invoices.list", "invoices"),
        };
        let form = Form::default()
            .with("created[gte]", stretch.from)
            .with("created[lt]", stretch.to)
            .with("limit", OBJECTS_MAX)
            .with_some("starting_after", stretch.after.as_ref())
            .with_some("status", (stretch.kind == Kind::Subscriptions).then_some("all"));
        let call = Call::get(name, &[path]).with(form).in_account(stretch.account.as_deref()).in_background();
        let answer = self.stripe.read(&call).await?;
        let page = Page::of(&answer)?;
        let account = stretch.account.as_deref();
        let findings = match stretch.kind {
            Kind::Events => self.events(&page.objects, account).await?,
            Kind::Subscriptions => {
                self.objects(ObjectType::Subscription, &page.objects, answer.looked_after, account).await?
            }
            Kind::Invoices => self.objects(ObjectType::Invoice, &page.objects, answer.looked_after, account).await?,
        };
        let last = page.last()?.filter(|_| page.has_more);
        let more_after = last.map(|listed| (listed.id, listed.created));
        Ok(PageRead { objects: page.objects.len(), findings, more_after })
    }

    /// The events that have an effect and are not known here, the oldest first.
    async fn events(&self, listed: &[&RawValue], account: Option<&str>) -> Result<Vec<Finding>, Failure> {
        let payloads: Vec<_> = listed.iter().rev().map(|event| payload(event, account)).collect();
        let missed = self.inbox.missed(payloads).await?;
        let mut findings = Vec::new();
        for missed in missed.chunks(BATCH_MAX) {
            let mended = self.bring(missed).await?;
            findings.extend(missed.iter().zip(mended).map(|(event, is_mended)| Finding::Missed {
                id: event.id.clone(),
                event_type: event.event_type.clone(),
                object_id: event.object_id.clone(),
                is_mended,
            }));
        }
        Ok(findings)
    }

    /// Whether each event is in effect now.
    async fn bring(&self, missed: &[Event]) -> Result<Vec<bool>, Failure> {
        if !self.mends {
            return Ok(vec![false; missed.len()]);
        }
        let request_id = RequestId::new(self.app.clock.now(), &self.app.rng);
        let payloads = missed.iter().map(|event| event.payload.clone()).collect();
        let mut mended = Vec::new();
        for delivery in self.inbox.process(payloads, Mode::Fetched, &request_id).await {
            mended.push(match delivery {
                Ok((_, outcome)) => outcome != Outcome::DeadLettered,
                // What failed is stored, and whoever serves tries it again.
                Err((_, IntakeError::RetryScheduled | IntakeError::Malformed)) => false,
                Err((_, IntakeError::NotStored)) => return Err(Failure::NotStored),
            });
        }
        Ok(mended)
    }

    /// What of these objects is not so here.
    async fn objects(
        &self,
        object_type: ObjectType,
        listed: &[&RawValue],
        at: Timestamp,
        account: Option<&str>,
    ) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        let mut seen = Vec::new();
        for object in listed {
            match observation(object_type, object, at, account) {
                Some(observation) if self.is_of_our_mode(&observation) => seen.push(observation),
                Some(_) => {}
                None => findings.push(Finding::Unreadable { id: id_of(object) }),
            }
        }
        for together in seen.chunks(TOGETHER) {
            match self.compare(together).await {
                Ok(found) => findings.extend(found),
                Err(WriteError::Database(failure)) => return Err(failure.into()),
                // Each alone, so that one harms no other.
                Err(_) => {
                    for alone in together {
                        match self.compare(slice::from_ref(alone)).await {
                            Ok(found) => findings.extend(found),
                            Err(WriteError::Database(failure)) => return Err(failure.into()),
                            Err(_) => findings.push(Finding::Unreadable { id: object_id(alone).map(str::to_owned) }),
                        }
                    }
                }
            }
        }
        Ok(findings)
    }

    async fn compare(&self, seen: &[Observation]) -> Result<Vec<Finding>, WriteError<Infallible>> {
        let mut found = self.app.differences(seen).await?;
        // What is so already is not written again.
        if self.mends && !found.is_empty() {
            found = self.app.take_in(seen, Touched::default()).await?;
        }
        Ok(Finding::of(differences::of_objects(found, seen), self.mends))
    }

    fn is_of_our_mode(&self, observation: &Observation) -> bool {
        !matches!((self.app.config.stripe.livemode, observation.livemode), (Some(ours), Some(its)) if ours != its)
    }
}

/// An object as it was before its answer was made. The name comes after those of events: of one second's snapshots that
/// do not say what they changed it is the last.
fn observation(
    object_type: ObjectType,
    object: &RawValue,
    at: Timestamp,
    account: Option<&str>,
) -> Option<Observation> {
    let source = format!("listed_{}_{}", id_of(object)?, at.timestamp());
    Observation::of_object(object_type, object.get().as_bytes(), at, account.map(str::to_owned), source).ok()
}

/// The event as it would have been sent: one of a connected account says whose it is.
fn payload(event: &RawValue, account: Option<&str>) -> Bytes {
    let as_it_is = || Bytes::copy_from_slice(event.get().as_bytes());
    let Some(account) = account else { return as_it_is() };
    match serde_json::from_str(event.get()) {
        Ok(Value::Object(mut event)) => {
            event.insert("account".to_owned(), account.into());
            Value::Object(event).to_string().into()
        }
        _ => as_it_is(),
    }
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

fn id_of(object: &RawValue) -> Option<String> {
    serde_json::from_str::<Named>(object.get()).ok().map(|named| named.id)
}
