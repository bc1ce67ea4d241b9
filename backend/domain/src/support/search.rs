//! Tickets by what somebody knows of them.

use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx};

use super::{Ticket, TicketStatus};

/// A page of a user's tickets, the newest first.
pub async fn of_user(tx: &mut Tx, user_id: &str, page: &Page) -> Result<List<Ticket>, DbError> {
    let wanted = Filter { status: None, search: Some(Search::User(user_id.to_owned())) };
    search(tx, &wanted, page).await
}

/// Which tickets are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// How they stand.
    pub status: Option<TicketStatus>,
    /// What they are looked for by.
    pub search: Option<Search>,
}

/// What tickets are looked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// What people call one.
    Number(i64),
    /// Its id.
    Id(String),
    /// The licence that it is about.
    License(String),
    /// Who asks.
    User(String),
}

impl Search {
    /// What somebody means who types `text`: a ticket's number or id, a licence's id, else the id of a user. None where it is
    /// blank.
    pub fn typed(text: &str) -> Option<Self> {
        let text = text.trim();
        let number = text.strip_prefix('#').unwrap_or(text).parse().ok();
        Some(match text {
            "" => return None,
            _ if number.is_some() => Self::Number(number?),
            text if text.starts_with("tkt_") => Self::Id(text.to_owned()),
            text if text.starts_with("lic_") => Self::License(text.to_owned()),
            text => Self::User(text.to_owned()),
        })
    }
}

/// A page of the tickets that are asked for, the newest first.
pub async fn search(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<Ticket>, DbError> {
    let rows = rows(tx, filter, page).await?;
    Ok(page.list(rows, |row| Position { at: row.created_at, id: row.id.clone() }))
}

/// The tickets that `filter` asks for, of which the page may show some: each by the index of what picks the fewest. Where a
/// status only picks, `|| ''` keeps an engine from going by the index of that instead.
async fn rows(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Vec<Ticket>, DbError> {
    let Position { at, id } = page.start();
    let status = filter.status.map(TicketStatus::name);
    let (query, picked) = match &filter.search {
        Some(Search::Number(number)) => {
            let query = tx.sql(
                "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                        updated_at
                 FROM support_tickets
                 WHERE number = $1 AND (CAST($2 AS TEXT) IS NULL OR status || '' = $2)",
            );
            return query.bind(*number).bind(status).all().await;
        }
        Some(Search::Id(id)) => {
            let query = tx.sql(
                "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                        updated_at
                 FROM support_tickets
                 WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR status || '' = $2)",
            );
            return query.bind(&**id).bind(status).all().await;
        }
        Some(Search::License(license_id)) => {
            let query = tx.sql(
                "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                        updated_at
                 FROM support_tickets
                 WHERE license_id = $4 AND (created_at, id) < ($1, $2)
                   AND (CAST($5 AS TEXT) IS NULL OR status || '' = $5)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            (query, Some(&**license_id))
        }
        Some(Search::User(user_id)) => {
            let query = tx.sql(
                "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                        updated_at
                 FROM support_tickets
                 WHERE user_id = $4 AND (created_at, id) < ($1, $2)
                   AND (CAST($5 AS TEXT) IS NULL OR status || '' = $5)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            (query, Some(&**user_id))
        }
        None if status.is_some() => {
            let query = tx.sql(
                "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                        updated_at
                 FROM support_tickets
                 WHERE status = $4 AND (created_at, id) < ($1, $2)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            return query.bind(at).bind(id).bind(page.rows_wanted()).bind(status).all().await;
        }
        None => {
            let query = tx.sql(
                "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                        updated_at
                 FROM support_tickets
                 WHERE (created_at, id) < ($1, $2)
                 ORDER BY created_at DESC, id DESC
                 LIMIT $3",
            );
            return query.bind(at).bind(id).bind(page.rows_wanted()).all().await;
        }
    };
    query.bind(at).bind(id).bind(page.rows_wanted()).bind(picked).bind(status).all().await
}
