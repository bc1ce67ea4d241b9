//! How an engine would carry a statement out: by an index from its first row to its last, or by reading whole tables.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use super::{Database, Kept};

/// Makes PostgreSQL read a whole table, or join one as a whole, only where there is no other way, however small it is, and
/// plan for parameters of any value.
const ONLY_WITHOUT_AN_INDEX: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off;
     SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan";
/// Lets PostgreSQL learn what tables hold, and plan for that and for parameters of any value.
const BY_FIGURES: &str = "ANALYZE; SET plan_cache_mode = force_generic_plan";
/// The same for a sort.
const SORT_ONLY_WITHOUT_AN_INDEX: &str = "SET enable_sort = off; SET enable_incremental_sort = off";
const SORT_AS_YOU_LIKE: &str = "SET enable_sort = on; SET enable_incremental_sort = on";

/// What an engine goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Planner {
    /// Nothing: an index is used if there is one.
    WithoutFigures,
    /// What the tables hold.
    WithFigures,
}

/// Whether a statement gives a part of what it finds. Only there is a sort slow: one without a limit gives all that it
/// sorts.
fn has_limit(sql: &str) -> bool {
    sql.contains("LIMIT $")
}

impl Database {
    /// Which of `statements`, by their index, read a whole table or index, or sort what may be one, and the step of their
    /// plan that does. `small` are tables that do not grow. A statement that its engine refuses is none of these.
    pub async fn slow(&self, statements: &[String], small: &[&str]) -> Vec<(usize, String)> {
        self.slow_by(statements, small, Planner::WithoutFigures).await
    }

    /// The same as it is carried out with what the tables hold at this moment, of which the engine first learns.
    pub async fn slow_as_filled(&self, statements: &[String], small: &[&str]) -> Vec<(usize, String)> {
        self.slow_by(statements, small, Planner::WithFigures).await
    }

    async fn slow_by(&self, statements: &[String], small: &[&str], planner: Planner) -> Vec<(usize, String)> {
        let mut slow = Vec::new();
        match &self.kept {
            Kept::Sqlite(_) => {
                let mut connection = SqliteConnection::connect(&self.url).await.expect("a test's file can be opened");
                if planner == Planner::WithFigures {
                    connection.execute("ANALYZE").await.expect("a test's file can be written");
                }
                let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
                let tables: Vec<String> =
                    sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("tables can be listed");
                let tables: BTreeSet<_> = tables.into_iter().filter(|table| !small.contains(&&**table)).collect();
                for (index, sql) in statements.iter().enumerate() {
                    let explain = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
                    let steps: Result<Vec<Step>, _> = explain.fetch_all(&mut connection).await;
                    let Ok(steps) = steps else { continue };
                    slow.extend(slow_on_sqlite(&steps, &tables, has_limit(sql)).map(|step| (index, step)));
                }
            }
            Kept::Postgres { .. } => {
                let mut connection = PgConnection::connect(&self.url).await.expect("a test's server takes connections");
                let how = if planner == Planner::WithFigures { BY_FIGURES } else { ONLY_WITHOUT_AN_INDEX };
                connection.execute(how).await.expect("these are settings");
                for (index, sql) in statements.iter().enumerate() {
                    let may_sort = planner == Planner::WithFigures || !has_limit(sql);
                    let sorting = if may_sort { SORT_AS_YOU_LIKE } else { SORT_ONLY_WITHOUT_AN_INDEX };
                    connection.execute(sorting).await.expect("these are settings");
                    let prepare = AssertSqlSafe(format!("PREPARE s{index} AS {sql}"));
                    if connection.execute(sqlx::raw_sql(prepare)).await.is_err() {
                        continue;
                    }
                    let parameters = (1..100).take_while(|number| sql.contains(&format!("${number}"))).count();
                    let parameters = match parameters {
                        0 => String::new(),
                        several => format!("({})", vec!["NULL"; several].join(", ")),
                    };
                    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE s{index}{parameters}"));
                    let lines: Vec<String> =
                        sqlx::query_scalar(explain).fetch_all(&mut connection).await.expect("it was prepared");
                    slow.extend(slow_on_postgres(&lines, small, has_limit(sql)).map(|step| (index, step)));
                }
            }
        }
        slow
    }
}

/// A row of `EXPLAIN QUERY PLAN`: its number, that of the step it is a part of, nothing, and what is done.
type Step = (i64, i64, i64, String);

/// Sorting what a subquery gives is not slow: each of ours gives no more than a page.
/// <https://sqlite.org/eqp.html>
fn slow_on_sqlite<'s>(
    steps: &'s [Step],
    tables: &'s BTreeSet<String>,
    has_limit: bool,
) -> impl Iterator<Item = String> + 's {
    let of_table = |step: &str, verb: &str| {
        step.strip_prefix(verb).and_then(|step| step.split(' ').next()).is_some_and(|name| tables.contains(name))
    };
    let slow = move |(_, parent, _, step): &&Step| {
        let mut beside = steps.iter().filter(|(_, other, ..)| other == parent).map(|(.., step)| step);
        let reads_a_table = beside.any(|step| of_table(step, "SCAN ") || of_table(step, "SEARCH "));
        of_table(step, "SCAN ") || has_limit && step.contains("TEMP B-TREE") && reads_a_table
    };
    steps.iter().filter(slow).map(|(.., step)| step.clone())
}

/// <https://www.postgresql.org/docs/current/using-explain.html>
fn slow_on_postgres(lines: &[String], small: &[&str], has_limit: bool) -> impl Iterator<Item = String> {
    let is_step = |line: &str| line.contains("(cost=");
    let slow = move |(index, line): &(usize, &String)| {
        let of_small = small.iter().any(|table| line.contains(&format!(" on {table} ")));
        let by_index = line.contains("Index Scan") || line.contains("Index Only Scan");
        let mut its_lines = lines[index + 1..].iter().take_while(|line| !is_step(line));
        let sorts = line.trim_start_matches([' ', '-', '>']).starts_with("Sort ") || line.contains("Incremental Sort");
        let whole = line.contains("Seq Scan") || by_index && !its_lines.any(|line| line.contains("Index Cond"));
        is_step(line) && (has_limit && sorts || whole && !of_small)
    };
    lines.iter().enumerate().filter(slow).map(|(_, line)| line.trim().to_owned())
}
