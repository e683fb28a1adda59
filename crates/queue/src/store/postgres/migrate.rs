//! The tables, made and changed by whichever replica comes first.

use stdx::Clock;

use super::db::{Broken, Db};
use crate::moment::Moment;

/// What makes each version of the tables out of the one before. What has been released is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("../postgres.sql")];

/// The first half of the name of the lock that keeps replicas from migrating side by side; the schema is the other.
const LOCK: i32 = 0x6877_514d;

pub(super) fn migrate(db: &mut Db, clock: &Clock) -> Result<(), Broken> {
    let begin =
        format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK}, current_schema()::regnamespace::oid::bigint::integer)");
    db.client.batch_execute(&begin)?;
    db.client
        .batch_execute("CREATE TABLE IF NOT EXISTS migration (version BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL)")?;
    let row = db.client.query_one("SELECT coalesce(max(version), 0) FROM migration", &[])?;
    let found = usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        let why = format!("its tables are of version {found}, and this program knows version {}", MIGRATIONS.len());
        return Err(Broken { why });
    }
    for (version, script) in (1_i64..).zip(MIGRATIONS).skip(found) {
        db.client.batch_execute(script)?;
        db.client.execute("INSERT INTO migration VALUES ($1, clock_timestamp())", &[&version])?;
    }
    if found == 0 {
        // Nobody has swept yet, and nobody has been away.
        let now = clock.is_manual().then(|| Moment::from(clock.now()).millis());
        let sql = "UPDATE meta SET value = coalesce($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
                   WHERE name = 'swept'";
        db.client.execute(sql, &[&now])?;
    }
    db.client.batch_execute("COMMIT")?;
    Ok(())
}
