//! Acts of operators, the newest first by what is asked for.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Json, Tx};
use tollgate_domain::audit::acts::OperatorAct;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};

/// An act as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Act")]
pub(super) struct ActView {
    id: String,
    at: String,
    actor: String,
    claimed_name: Option<String>,
    action: String,
    target: Target,
    reason: Option<String>,
    request_id: String,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ActTarget")]
struct Target {
    r#type: String,
    id: String,
}

/// Which acts are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) actor: Option<String>,
    pub(super) action: Option<String>,
    /// The id of what was acted on.
    pub(super) target: Option<String>,
    /// Not before.
    pub(super) from: Option<Timestamp>,
    /// Before.
    pub(super) to: Option<Timestamp>,
}

/// The newest after a position (`$1`, `$2`) and not before `$3`, at most `$4`, of those for which the condition holds. The
/// rest of the filter (`$5` to `$7`) only picks: `|| ''` keeps an engine from going by the index of that instead.
macro_rules! newest {
    ($($condition:literal)?) => {
        concat!(
            "SELECT id, at, actor, claimed_name, action, target_type, target_id, reason, request_id, before_act, after_act
             FROM operator_acts
             WHERE (at, id) < ($1, $2) AND at >= $3", $(" AND ", $condition,)?
            " AND (CAST($5 AS TEXT) IS NULL OR target_id || '' = $5)
              AND (CAST($6 AS TEXT) IS NULL OR actor || '' = $6)
              AND (CAST($7 AS TEXT) IS NULL OR action || '' = $7)
             ORDER BY at DESC, id DESC
             LIMIT $4"
        )
    };
}

/// The statement for a filter: by the index of what picks the fewest.
fn page_sql(filter: &Filter) -> &'static str {
    match filter {
        Filter { target: Some(_), .. } => newest!("target_id = $5"),
        Filter { actor: Some(_), .. } => newest!("actor = $6"),
        Filter { action: Some(_), .. } => newest!("action = $7"),
        _ => newest!(),
    }
}

/// One page of the acts that `filter` asks for.
pub(super) async fn list(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<ActView>, DbError> {
    let end = Position { at: filter.to.unwrap_or_else(end_of_time), id: String::new() };
    let after = match &page.after {
        Some(after) if (after.at, &after.id) < (end.at, &end.id) => after,
        _ => &end,
    };
    let query = tx
        .sql(page_sql(filter))
        .bind(after.at)
        .bind(after.id.as_str())
        .bind(filter.from.unwrap_or(Timestamp::UNIX_EPOCH))
        .bind(page.rows_wanted())
        .bind(filter.target.as_deref())
        .bind(filter.actor.as_deref())
        .bind(filter.action.as_deref());
    let rows: Vec<OperatorAct> = query.all().await?;
    Ok(page.list(rows, |row| Position { at: row.at, id: row.id.clone() }).map(ActView::from))
}

/// Later than any act: both engines' times end with the year 9999 or later.
fn end_of_time() -> Timestamp {
    from_unix(253_402_300_799).expect("the last second of 9999 is one that chrono knows")
}

impl From<OperatorAct> for ActView {
    fn from(row: OperatorAct) -> Self {
        Self {
            id: row.id,
            at: rfc3339(row.at),
            actor: row.actor,
            claimed_name: row.claimed_name,
            action: row.action,
            target: Target { r#type: row.target_type, id: row.target_id },
            reason: row.reason,
            request_id: row.request_id,
            before: row.before_act.map(|Json(before)| before),
            after: row.after_act.map(|Json(after)| after),
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_db::Engine;
    use tollgate_db::testing::block_on;

    use super::*;
    use crate::schema::testing::migrated;

    /// Each combination of actor, action and target.
    fn every_filter() -> Vec<Filter> {
        let text = |is_there: bool| is_there.then(|| "text".to_owned());
        let filter = |bits: u8| Filter {
            actor: text(bits & 1 > 0),
            action: text(bits & 2 > 0),
            target: text(bits & 4 > 0),
            ..Filter::default()
        };
        (0..8).map(filter).collect()
    }

    #[test]
    fn every_list_of_acts_goes_by_an_index_on_both_engines() {
        block_on(async {
            let statements: Vec<_> = every_filter().iter().map(|filter| page_sql(filter).to_owned()).collect();
            for engine in [Engine::Sqlite, Engine::Postgres] {
                let database = migrated(engine).await;
                assert_eq!(database.refused(&statements).await, []);
                assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
            }
        });
    }
}
