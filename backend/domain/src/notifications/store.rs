//! The SQL of `notifications`, `messages` and what belongs to them, but for what the unit of work does.

use std::collections::BTreeSet;

use tollgate_db::page::Page;
use tollgate_db::{DbError, Lock, Query, Tx, id_set, record};
use tollgate_shared::Timestamp;

use crate::notifications::devices::Device;
use crate::notifications::messages::{Message, Notification};
use crate::notifications::notice::Notice;
use crate::notifications::sending::{Queue, Skip, Status};
use crate::notifications::template::{Channel, Template};

record! {
    /// What was told already.
    struct Told in "notifications" {
        pub id: String,
        pub once_key: String,
    }
}

record! {
    /// The same of whoever is told by messages alone.
    struct Written in "messages" {
        pub id: String,
        pub once_key: String,
    }
}

/// Which messages an operator looks for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the row")]
pub struct Filter {
    pub status: Option<Status>,
    pub channel: Option<Channel>,
    pub user_id: Option<String>,
    pub template: Option<Template>,
}

/// Those of `notices` that were told already, by what they are told of once: to the user, or to the customer before it was
/// that user's.
pub async fn keys_known(tx: &mut Tx, notices: &[Notice]) -> Result<BTreeSet<String>, DbError> {
    let of_users = notices.iter().filter(|notice| notice.recipient.user_id.is_some());
    let keys = of_users.map(Notice::once_key).collect();
    let told: Vec<Told> = tx.load("once_key", &keys, Lock::None).await?;
    let mut known: BTreeSet<_> = told.into_iter().map(|row| row.once_key).collect();
    let keys = notices.iter().filter_map(Notice::key_of_mail_to_customer).collect();
    let written: Vec<Written> = tx.load("once_key", &keys, Lock::None).await?;
    let written: BTreeSet<_> = written.into_iter().map(|row| row.once_key).collect();
    let is_written = |notice: &&Notice| notice.key_of_mail_to_customer().is_some_and(|key| written.contains(&key));
    known.extend(notices.iter().filter(is_written).map(Notice::once_key));
    Ok(known)
}

/// Whether any message of a queue is due: a look that locks nothing.
pub async fn is_any_due(tx: &mut Tx, queue: Queue, now: Timestamp) -> Result<bool, DbError> {
    let due: Vec<(String,)> = due(tx, queue, now, 1).all().await?;
    Ok(!due.is_empty())
}

/// The messages of a queue that are due, those that have waited for longest first.
fn due(tx: &mut Tx, queue: Queue, now: Timestamp, limit: i64) -> Query<'_> {
    let due = tx.sql(
        "SELECT id
         FROM messages
         WHERE queue = $1 AND next_attempt_at <= $2
         ORDER BY next_attempt_at, id
         LIMIT $3",
    );
    due.bind(queue.name()).bind(now).bind(limit)
}

/// Messages that were taken up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// To be tried.
    pub to_try: Vec<Message>,
    /// To be given up: they were tried as often as may be, and nobody lived to say what came of the last time.
    pub tried_out: Vec<Message>,
}

/// Takes up to `limit` messages of a queue that are due, by [`Message::take_up`]. Of two who do so at once neither waits for
/// the other, and each gets others.
pub async fn claim(tx: &mut Tx, queue: Queue, now: Timestamp, limit: i64) -> Result<Claimed, DbError> {
    let ids: Vec<(String,)> = due(tx, queue, now, limit).all_free().await?;
    let mut rows: Vec<Message> = tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await?;
    let may_be_tried: Vec<bool> = rows.iter_mut().map(|row| row.take_up(now)).collect();
    tx.upsert(&rows.iter().collect::<Vec<_>>()).await?;
    let mut claimed = Claimed::default();
    for (row, may_be_tried) in rows.into_iter().zip(may_be_tried) {
        if may_be_tried { claimed.to_try.push(row) } else { claimed.tried_out.push(row) }
    }
    Ok(claimed)
}

/// How much a user was told since `since`, on however many devices.
pub async fn sent_in_hour(tx: &mut Tx, user_id: &str, since: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT count(DISTINCT COALESCE(notification_id, id)) FROM messages WHERE user_id = $1 AND sent_at > $2";
    let count: Option<(i64,)> = tx.sql(sql).bind(user_id).bind(since).optional().await?;
    Ok(count.map_or(0, |(count,)| count))
}

/// How many messages of a queue wait.
pub async fn queued(tx: &mut Tx, queue: Queue) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM messages WHERE queue = $1 AND next_attempt_at > $2";
    let count: Option<(i64,)> = tx.sql(sql).bind(queue.name()).bind(Timestamp::UNIX_EPOCH).optional().await?;
    Ok(count.map_or(0, |(count,)| count))
}

/// Notes that their channels have taken these messages, whoever has them claimed by now: they are sent all the same.
pub async fn note_sent(tx: &mut Tx, now: Timestamp, messages: &[&Message]) -> Result<(), DbError> {
    let noted = tx.sql(
        "UPDATE messages
         SET status = 'sent', sent_at = $2, next_attempt_at = NULL, last_error = NULL, reason = NULL
         WHERE id IN (SELECT key FROM json_each($1)) AND status <> 'sent'",
    );
    noted.bind(id_set(messages.iter().map(|message| &*message.id))).bind(now).run().await?;
    let devices: BTreeSet<_> = messages.iter().filter_map(|message| message.device_id.clone()).collect();
    // Locked in the order of their ids: others may note the same ones.
    let devices: Vec<Device> = tx.load("id", &devices, Lock::ForUpdate).await?;
    if devices.is_empty() {
        return Ok(());
    }
    let seen = tx.sql("UPDATE devices SET last_sent_at = $2 WHERE id IN (SELECT key FROM json_each($1))");
    seen.bind(id_set(devices.iter().map(|device| &*device.id))).bind(now).run().await?;
    Ok(())
}

impl Message {
    /// Notes that it is not sent, and why; whether it still was this claim's.
    pub async fn skip(&self, tx: &mut Tx, why: Skip) -> Result<bool, DbError> {
        let skipped = tx.sql(
            "UPDATE messages
             SET status = 'skipped', reason = $3, next_attempt_at = NULL
             WHERE id = $1 AND next_attempt_at = $2",
        );
        Ok(skipped.bind(&*self.id).bind(self.next_attempt_at).bind(why.name()).run().await? > 0)
    }

    /// Notes that an attempt failed, and when the next one is; whether it still was this claim's.
    pub async fn put_off(&self, tx: &mut Tx, until: Timestamp, error: &str) -> Result<bool, DbError> {
        let put_off = tx.sql(
            "UPDATE messages
             SET next_attempt_at = $3, last_error = $4
             WHERE id = $1 AND next_attempt_at = $2",
        );
        Ok(put_off.bind(&*self.id).bind(self.next_attempt_at).bind(until).bind(error).run().await? > 0)
    }

    /// Notes that nothing tries it again by itself, and why; whether it still was this claim's.
    pub async fn give_up(&self, tx: &mut Tx, reason: &str, error: &str) -> Result<bool, DbError> {
        let given_up = tx.sql(
            "UPDATE messages
             SET status = 'dead_lettered', reason = $3, last_error = $4, next_attempt_at = NULL
             WHERE id = $1 AND next_attempt_at = $2",
        );
        let given_up = given_up.bind(&*self.id).bind(self.next_attempt_at).bind(reason).bind(error);
        Ok(given_up.run().await? > 0)
    }

    /// Notes that it is for a device, and waits in that one's queue; whether it still was this claim's.
    pub async fn address(&self, tx: &mut Tx, now: Timestamp, device_id: &str, queue: Queue) -> Result<bool, DbError> {
        let addressed = tx.sql(
            "UPDATE messages
             SET device_id = $3, queue = $4, next_attempt_at = $5, attempts = 0
             WHERE id = $1 AND next_attempt_at = $2",
        );
        let addressed = addressed.bind(&*self.id).bind(self.next_attempt_at).bind(device_id);
        Ok(addressed.bind(queue.name()).bind(now).run().await? > 0)
    }

    /// The same message for another device.
    pub fn copy_for(&self, id: String, device_id: &str, queue: Queue, now: Timestamp) -> Self {
        Self {
            id,
            once_key: format!("{}:{device_id}", self.once_key),
            device_id: Some(device_id.to_owned()),
            queue: queue.name().to_owned(),
            next_attempt_at: Some(now),
            attempts: 0,
            ..self.clone()
        }
    }
}

/// Queues a message again that had become a dead letter; whether there is one.
pub async fn requeue(tx: &mut Tx, now: Timestamp, id: &str) -> Result<bool, DbError> {
    let requeued = tx.sql(
        "UPDATE messages
         SET status = 'queued', reason = NULL, next_attempt_at = $2, attempts = 0
         WHERE id = $1 AND status = 'dead_lettered'",
    );
    Ok(requeued.bind(id).bind(now).run().await? > 0)
}

/// A page of what a user sees, the newest first; `unread`: of what the user has not read.
pub async fn of_user(tx: &mut Tx, user_id: &str, unread: bool, page: &Page) -> Result<Vec<Notification>, DbError> {
    let query = if unread {
        tx.sql(
            "SELECT id
             FROM notifications
             WHERE user_id = $1 AND read_at IS NULL AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        )
    } else {
        tx.sql(
            "SELECT id
             FROM notifications
             WHERE user_id = $1 AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        )
    };
    let ids: Vec<(String,)> = query.bind_page(user_id, page).all().await?;
    tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await
}

/// How many notifications a user has not read.
pub async fn unread(tx: &mut Tx, user_id: &str) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM notifications WHERE user_id = $1 AND read_at IS NULL";
    let count: Option<(i64,)> = tx.sql(sql).bind(user_id).optional().await?;
    Ok(count.map_or(0, |(count,)| count))
}

/// Notes that a user has read a notification, if it is the user's; again the same.
pub async fn note_read(tx: &mut Tx, now: Timestamp, user_id: &str, id: &str) -> Result<Option<Notification>, DbError> {
    let sql = "UPDATE notifications SET read_at = $3 WHERE id = $1 AND user_id = $2 AND read_at IS NULL";
    tx.sql(sql).bind(id).bind(user_id).bind(now).run().await?;
    let row: Option<Notification> = tx.load("id", &BTreeSet::from([id.to_owned()]), Lock::None).await?.pop();
    Ok(row.filter(|row| row.user_id == user_id))
}

/// Notes that a user has read all that there is; how many there were.
pub async fn note_read_all(tx: &mut Tx, now: Timestamp, user_id: &str) -> Result<u64, DbError> {
    let sql = "UPDATE notifications SET read_at = $2 WHERE user_id = $1 AND read_at IS NULL";
    tx.sql(sql).bind(user_id).bind(now).run().await
}

/// A page of a user's devices, the newest first.
pub async fn devices_of(tx: &mut Tx, user_id: &str, page: &Page) -> Result<Vec<Device>, DbError> {
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM devices
             WHERE user_id = $1 AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        )
        .bind_page(user_id, page)
        .all()
        .await?;
    tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await
}

/// Removes a device of a user's.
pub async fn remove_device(tx: &mut Tx, user_id: &str, id: &str) -> Result<(), DbError> {
    tx.sql("DELETE FROM devices WHERE id = $1 AND user_id = $2").bind(id).bind(user_id).run().await?;
    Ok(())
}

/// Removes a device that its provider says is gone.
pub async fn forget_device(tx: &mut Tx, id: &str) -> Result<(), DbError> {
    tx.sql("DELETE FROM devices WHERE id = $1").bind(id).run().await?;
    Ok(())
}

/// Removes notifications and messages that were written before `before`, `limit` at most of each; how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    let of_notifications = tx.sql(
        "DELETE FROM notifications
         WHERE id IN (SELECT id FROM notifications
                      WHERE created_at < $1
                      ORDER BY created_at, id
                      LIMIT $2)",
    );
    let removed = of_notifications.bind(before).bind(limit).run().await?;
    let of_messages = tx.sql(
        "DELETE FROM messages
         WHERE id IN (SELECT id FROM messages
                      WHERE created_at < $1
                      ORDER BY created_at, id
                      LIMIT $2)",
    );
    Ok(removed + of_messages.bind(before).bind(limit).run().await?)
}

/// The newest messages that `filter` asks for: a range of the index of whichever of it tells most.
pub(super) async fn newest(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Vec<Message>, DbError> {
    let Filter { status, channel, user_id, template } = filter;
    let (status, channel) = (status.map(Status::name), channel.map(Channel::name));
    let (template, start) = (template.map(Template::name), page.start());
    let ids: Vec<(String,)> = match (user_id.as_deref(), template, status) {
        (Some(user_id), ..) => {
            let query = tx.sql(
                "SELECT id
                 FROM messages
                 WHERE user_id = $5 AND (created_at, id) < ($1, $2)
                   AND (CAST($4 AS TEXT) IS NULL OR channel = $4) AND (CAST($6 AS TEXT) IS NULL OR template = $6)
                   AND (CAST($7 AS TEXT) IS NULL OR status = $7)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            let query = query.bind(start.at).bind(start.id).bind(page.rows_wanted()).bind(channel);
            query.bind(user_id).bind(template).bind(status).all().await?
        }
        (None, Some(template), _) => {
            let query = tx.sql(
                "SELECT id
                 FROM messages
                 WHERE template = $5 AND (created_at, id) < ($1, $2)
                   AND (CAST($4 AS TEXT) IS NULL OR channel = $4) AND (CAST($6 AS TEXT) IS NULL OR status = $6)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            let query = query.bind(start.at).bind(start.id).bind(page.rows_wanted()).bind(channel);
            query.bind(template).bind(status).all().await?
        }
        (None, None, Some(status)) => {
            let query = tx.sql(
                "SELECT id
                 FROM messages
                 WHERE status = $5 AND (created_at, id) < ($1, $2)
                   AND (CAST($4 AS TEXT) IS NULL OR channel = $4)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            let query = query.bind(start.at).bind(start.id).bind(page.rows_wanted()).bind(channel);
            query.bind(status).all().await?
        }
        (None, None, None) => {
            let query = tx.sql(
                "SELECT id
                 FROM messages
                 WHERE (created_at, id) < ($1, $2) AND (CAST($4 AS TEXT) IS NULL OR channel = $4)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            query.bind(start.at).bind(start.id).bind(page.rows_wanted()).bind(channel).all().await?
        }
    };
    tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await
}

/// The newest messages about a customer, and about nobody's customer to its user: `|| ''` keeps an engine from going through those of
/// everybody.
pub(super) async fn of_customer(
    tx: &mut Tx,
    customer_id: &str,
    user_id: Option<&str>,
    limit: i64,
) -> Result<Vec<Message>, DbError> {
    let about_it: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM messages
             WHERE customer_id = $1
             ORDER BY created_at DESC, id DESC
             LIMIT $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let to_its_user: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM messages
             WHERE user_id = $1 AND customer_id || '' IS NULL
             ORDER BY created_at DESC, id DESC
             LIMIT $2",
        )
        .bind(user_id)
        .bind(limit)
        .all()
        .await?;
    let ids = about_it.into_iter().chain(to_its_user).map(|(id,)| id).collect();
    let mut rows: Vec<Message> = tx.load("id", &ids, Lock::None).await?;
    rows.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    rows.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(rows)
}

/// The messages that an event has brought about.
pub(super) async fn of_event(tx: &mut Tx, event_id: &str) -> Result<Vec<Message>, DbError> {
    tx.load("event_id", &BTreeSet::from([event_id.to_owned()]), Lock::None).await
}
