//! What streams ask the database, each question together with those of all other streams that ask at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollgate_db::{Db, DbError, Engine, Lock, Tx, record};
use tollgate_domain::events::cursor::{Epoch, Kept};
use tollgate_domain::events::{LoggedEvent, Look, log};
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::machines;

use super::batches::Batches;
use super::epochs::Epochs;
use crate::app::App;

/// How many streams are opened in one transaction.
const OPENINGS_MAX: usize = 128;

/// How many streams look in one transaction. Each finds 16 events at most.
const LOOKS_MAX: usize = 256;

record! {
    /// The columns of a licence that a stream shows.
    struct StreamedLicense in "licenses" {
        /// `lic_…`
        pub id: String,
        /// What its holder shows.
        pub key: String,
        /// `active`, `suspended`, `expired` or `revoked`.
        pub status: String,
        /// How many machines may be active on it.
        pub max_activations: i64,
    }
}

/// Who asks for a stream.
pub(super) struct Question {
    pub(super) key: LicenseKey,
    /// What the app knows its machine by.
    pub(super) machine: Option<String>,
}

/// What has to be known of a licence to open a stream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) license_id: String,
    pub(super) license_status: String,
    /// The machine that asks; none where it said none, or holds no seat.
    pub(super) machine_id: Option<String>,
    pub(super) seats: i64,
    pub(super) kept: Kept,
}

/// Asks for streams. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    db: Db,
    epochs: Arc<Epochs>,
    openings: Batches<Question, Option<Opening>>,
    looks: Batches<(String, i64), (Epoch, Look)>,
}

impl Reader {
    /// Starts what asks the database.
    pub(super) fn start(app: &App, epochs: &Arc<Epochs>) -> Self {
        let db = app.db.clone();
        let askers = match db.engine() {
            Engine::Sqlite => 1,
            Engine::Postgres => 2,
        };
        let state = (app.clone(), epochs.clone());
        let openings = Batches::start(&app.tasks, "stream-openings", 1, OPENINGS_MAX, move |questions| {
            let (app, epochs) = state.clone();
            async move {
                epochs.settle(&app.db, &app.rng).await?;
                let opened = open(&app, &epochs, questions).await;
                opened.inspect_err(|failure| forget_if_away(&epochs, failure))
            }
        });
        let state = (db.clone(), epochs.clone());
        let looks = Batches::start(&app.tasks, "stream-looks", askers, LOOKS_MAX, move |wanted| {
            let (db, epochs) = state.clone();
            async move {
                let looked = look(&db, &epochs, wanted).await;
                looked.inspect_err(|failure| forget_if_away(&epochs, failure))
            }
        });
        Self { db, epochs: epochs.clone(), openings, looks }
    }

    /// The licence of a key, if somebody has it.
    pub(super) async fn open(&self, question: Question) -> Result<Option<Opening>, DbError> {
        self.openings.ask(question).await
    }

    /// What somebody finds in a log who has read up to `after`, and of which epoch that is.
    pub(super) async fn look(&self, license_id: &str, after: i64) -> Result<(Epoch, Look), DbError> {
        self.looks.ask((license_id.to_owned(), after)).await
    }

    /// The events of a log after a number, `limit` at most.
    pub(super) async fn page(&self, license_id: &str, after: i64, limit: i64) -> Result<Vec<LoggedEvent>, DbError> {
        log::page(&mut self.db.read_list().await?, license_id, after, limit).await
    }

    /// One event of a log, if it is kept. Asked seldom: when an operator wants it sent again.
    pub(super) async fn event(&self, license_id: &str, id: &str) -> Result<Option<LoggedEvent>, DbError> {
        log::find(&mut self.db.read_stream().await?, license_id, id).await
    }

    /// What of a log is kept after a number. Asked seldom: when something is missing.
    pub(super) async fn kept_after(&self, license_id: &str, after: i64) -> Result<Kept, DbError> {
        let kept = log::kept_after(&mut self.db.read_stream().await?, license_id, after).await?;
        self.epochs.note(kept.epoch);
        Ok(kept)
    }
}

fn forget_if_away(epochs: &Epochs, failure: &DbError) {
    if matches!(failure, DbError::Unavailable { .. }) {
        epochs.forget();
    }
}

async fn open(app: &App, epochs: &Epochs, questions: Vec<Question>) -> Result<Vec<Option<Opening>>, DbError> {
    let names_machines = questions.iter().any(|question| question.machine.is_some());
    // Without them no machine can be told from another; its stream is served all the same.
    let keys = if names_machines { app.deployment_keys().await.ok() } else { None };
    let mut tx = app.db.read_stream().await?;
    let texts: BTreeSet<_> = questions.iter().map(|question| question.key.expose().to_owned()).collect();
    let licenses: Vec<StreamedLicense> = tx.load("key", &texts, Lock::None).await?;
    let ids: BTreeSet<_> = licenses.iter().map(|license| license.id.clone()).collect();
    let kept = log::kept(&mut tx, &ids).await?;
    if let Some(kept) = kept.values().next() {
        epochs.note(kept.epoch);
    }
    let machines = if keys.is_some() { machines::in_seats_of(&mut tx, &ids, Lock::None).await? } else { Vec::new() };
    let by_hash: BTreeMap<_, _> =
        machines.iter().map(|machine| ((&*machine.license_id, &*machine.fingerprint_hash), &machine.id)).collect();
    let by_key: BTreeMap<_, _> = licenses.iter().map(|license| (&*license.key, license)).collect();
    let opening = |question: Question| {
        let license = by_key.get(question.key.expose())?;
        let hash = keys.zip(question.machine).map(|(keys, machine)| keys.fingerprint.hash(&license.id, &machine));
        let machine_id = hash.and_then(|hash| by_hash.get(&(&*license.id, &*hash)).copied().cloned());
        Some(Opening {
            license_id: license.id.clone(),
            license_status: license.status.clone(),
            machine_id,
            seats: license.max_activations,
            kept: *kept.get(&license.id)?,
        })
    };
    Ok(questions.into_iter().map(opening).collect())
}

async fn look(db: &Db, epochs: &Epochs, wanted: Vec<(String, i64)>) -> Result<Vec<(Epoch, Look)>, DbError> {
    let mut tx = db.read_stream().await?;
    let epoch = match epochs.seen() {
        Some(epoch) => epoch,
        None => read_epoch(&mut tx, epochs).await?,
    };
    let mut found: BTreeMap<(String, i64), Look> = BTreeMap::new();
    let mut left: BTreeSet<_> = wanted.iter().cloned().collect();
    while !left.is_empty() {
        // One place a licence at a time; several streams of a licence are mostly at the same one.
        let now: BTreeMap<_, _> = left.iter().cloned().collect();
        left.retain(|(license_id, after)| now.get(license_id) != Some(after));
        let mut looks = log::look(&mut tx, &now).await?;
        found.extend(now.into_iter().map(|(license_id, after)| {
            let look = looks.remove(&license_id).unwrap_or_default();
            ((license_id, after), look)
        }));
    }
    let answer = |question: &(String, i64)| (epoch, found.get(question).cloned().unwrap_or_default());
    Ok(wanted.iter().map(answer).collect())
}

async fn read_epoch(tx: &mut Tx, epochs: &Epochs) -> Result<Epoch, DbError> {
    let epoch = log::epoch(tx).await?;
    epochs.note(epoch);
    Ok(epoch)
}
