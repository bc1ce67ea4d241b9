//! Which life of the database its logs are of.
//!
//! A restored backup brings back every row, so no row alone can tell that it was restored. On PostgreSQL the server knows:
//! a recovery begins another history, a dump makes other tables. Beside a SQLite file stands a *mark*: how far the logs
//! had come when it was last written.

use tollgate_db::{DbError, Tx};
use tollgate_shared::Rng;

use super::cursor::Epoch;

/// The name of the row that says that the logs are others than before; where nobody ever said so it is missing.
const ROW: &str = "license_events_epoch";

/// How many events were ever appended. Reads every log's row: to be asked seldom, and on SQLite alone.
const TOTAL: &str = "SELECT CAST(COALESCE(sum(last_seq), 0) AS BIGINT) FROM license_logs";

/// The epoch of the logs as `tx` sees them.
pub async fn current(tx: &mut Tx) -> Result<Epoch, DbError> {
    let identity = tx.identity("license_events").await?;
    let row = row(tx).await?;
    Ok(Epoch::of([&*identity, &row]))
}

/// Begins another epoch. Apps are told then that they may have missed something, and everything that is kept.
pub async fn begin_another(tx: &mut Tx, rng: &Rng) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO settings (name, value)
         VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(ROW)
    .bind(hex::encode(rng.bytes::<16>()))
    .run()
    .await?;
    Ok(())
}

/// How far the logs have come, as a mark says it.
pub async fn mark(tx: &mut Tx) -> Result<Mark, DbError> {
    let row = row(tx).await?;
    let (total,) = tx.sql(TOTAL).one().await?;
    Ok(Mark { row, total })
}

async fn row(tx: &mut Tx) -> Result<String, DbError> {
    let row: Option<(String,)> = tx.sql("SELECT value FROM settings WHERE name = $1").bind(ROW).optional().await?;
    Ok(row.map(|(value,)| value).unwrap_or_default())
}

/// How far the logs of a database had come, kept beside its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What the row said.
    pub row: String,
    /// How many events had been appended.
    pub total: i64,
}

impl Mark {
    /// The mark of a text, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let (row, total) = text.split_once(' ')?;
        let total = total.parse().ok().filter(|total| *total >= 0)?;
        (!row.is_empty()).then(|| Self { row: row.to_owned(), total })
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        format!("{} {}", self.row, self.total)
    }

    /// Whether a database that has come as far as this was put in the place of the one that `kept` was written beside.
    /// One without a mark came without it: the two stand in one folder, and the mark is written at the first start.
    pub fn is_restored(&self, kept: Option<&Self>) -> bool {
        kept.is_none_or(|kept| kept.row != self.row || kept.total > self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(row: &str, total: i64) -> Mark {
        Mark { row: row.to_owned(), total }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = mark("a1b2", 42);
        assert_eq!(Mark::parse(&mark.to_text()), Some(mark));
        for text in ["", "a1b2", "a1b2 ", " 42", "a1b2 -1", "a1b2 many", "a1b2 1 2", "\0\0\0"] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_database_that_knows_less_than_its_mark_was_restored() {
        let kept = mark("a", 10);
        assert!(!mark("a", 10).is_restored(Some(&kept)));
        assert!(!mark("a", 11).is_restored(Some(&kept)), "what came after the mark was written is no restoration");
        assert!(mark("a", 9).is_restored(Some(&kept)));
        assert!(mark("b", 11).is_restored(Some(&kept)), "another epoch's");
        assert!(mark("a", 10).is_restored(None), "it came without its mark");
    }
}
