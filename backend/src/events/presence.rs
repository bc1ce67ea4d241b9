//! Whose streams are open: their machines' apps are there, which is written with all other signs of life.

use tollgate_db::{DbError, UnitOfWork};
use tollgate_domain::sessions::{self, Transport};

use crate::app::App;
use crate::licenses::last_seen;

/// Sessions in one transaction: on SQLite events wait for as long as it takes.
const SESSIONS_AT_ONCE: i64 = 500;

/// Notes that the apps whose streams are open here are there.
pub fn renew(app: &App) {
    let now = app.clock.now();
    for machine_id in app.bells.machines() {
        app.last_seen.note(&machine_id, now, None, Some(Transport::Stream));
    }
}

/// Marks the sessions that have become stale, and says how many. On as many replicas at once as one likes: each session is
/// marked by one of them. What this process itself knows to be there is written first, whatever its clock did meanwhile.
pub async fn detect_stale(app: &App) -> Result<usize, DbError> {
    renew(app);
    last_seen::write(app).await?;
    let mut stale = 0;
    loop {
        let mut tx = app.begin_write().await?;
        let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
        let (looked_at, marked) = sessions::mark_stale(&mut tx, &mut work, SESSIONS_AT_ONCE).await?;
        work.release_savepoint();
        work.write(&mut tx).await?;
        tx.commit().await?;
        stale += marked;
        if (looked_at as i64) < SESSIONS_AT_ONCE {
            return Ok(stale);
        }
    }
}
