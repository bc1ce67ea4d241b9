//! The SQL of who is to be brought into step.

use tollgate_db::{DbError, Tx};

/// The customers whose rows were computed by other plans than those of `digest`, each with the digest of its plans, in the
/// order of those and after the given one. Two ranges of one index: an inequality alone would read all of it, where nearly
/// everybody has the same digest.
pub async fn computed_by_other_plans(
    tx: &mut Tx,
    digest: &str,
    after: Option<&(String, String)>,
    limit: i64,
) -> Result<Vec<(String, String)>, DbError> {
    let (after_digest, after_id) = after.map_or(("", ""), |(digest, id)| (digest, id));
    tx.sql(
        "SELECT plans_digest, id
         FROM (SELECT plans_digest, id
               FROM customers
               WHERE plans_digest < $1 AND (plans_digest, id) > ($2, $3)
               ORDER BY plans_digest, id
               LIMIT $4) AS smaller
         UNION ALL
         SELECT plans_digest, id
         FROM (SELECT plans_digest, id
               FROM customers
               WHERE plans_digest > $1 AND (plans_digest, id) > ($2, $3)
               ORDER BY plans_digest, id
               LIMIT $4) AS larger
         LIMIT $4",
    )
    .bind(digest)
    .bind(after_digest)
    .bind(after_id)
    .bind(limit)
    .all()
    .await
}
