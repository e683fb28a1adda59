//! A job's row in PostgreSQL.

use postgres::Row as Sql;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::Type;

use super::db::{Db, Param};
use crate::id::JobId;
pub(super) use crate::store::row::{CODES, Code, Row, id, reason, reason_code, serial, tail};

/// The columns that [`read`] reads, in its order.
macro_rules! columns {
    () => {
        "serial, tail, queue, lane, state, reason, due, priority, attempt, attempts, pending, on_fail, slot, cancel, \
         alone, created, started, ended, keep, lease, events, key"
    };
}

pub(super) fn read(sql: &Sql) -> Row {
    let small = |at: usize| u32::try_from(sql.get::<_, i64>(at)).unwrap_or(0);
    Row {
        serial: sql.get(0),
        tail: sql.get(1),
        queue: sql.get(2),
        lane: sql.get(3),
        code: Code::from_stored(sql.get(4)),
        reason: sql.get::<_, Option<i64>>(5).and_then(reason),
        due: sql.get(6),
        priority: i32::try_from(sql.get::<_, i64>(7)).unwrap_or(0),
        attempt: small(8),
        attempts: small(9),
        pending: small(10),
        runs_on_fail: sql.get(11),
        slot: sql.get(12),
        cancel: sql.get(13),
        alone: sql.get(14),
        created: sql.get(15),
        started: sql.get(16),
        ended: sql.get(17),
        keep: sql.get(18),
        lease: sql.get(19),
        events: sql.get(20),
        key: sql.get(21),
    }
}

/// A row as it is seen now.
pub(super) fn peek(db: &mut Db, id: JobId) -> Result<Option<Row>, postgres::Error> {
    let sql = concat!("SELECT ", columns!(), " FROM job WHERE serial = $1 AND tail = $2");
    Ok(db.first(sql, &[&serial(id), &tail(id)])?.as_ref().map(read))
}

/// Rows as they are seen now, the newest first.
pub(super) fn peek_all(db: &mut Db, serials: &[i64]) -> Result<Vec<Row>, postgres::Error> {
    let sql = concat!("SELECT ", columns!(), " FROM job WHERE serial = ANY($1) ORDER BY serial DESC");
    Ok(db.query(sql, &[&serials])?.iter().map(read).collect())
}

/// A row that nobody else changes until the end of the transaction.
pub(super) fn load(db: &mut Db, serial: i64) -> Result<Option<Row>, postgres::Error> {
    let sql = concat!("SELECT ", columns!(), " FROM job WHERE serial = $1 FOR UPDATE");
    Ok(db.first(sql, &[&serial])?.as_ref().map(read))
}

/// As [`load`], but nothing where somebody else has it.
pub(super) fn load_free(db: &mut Db, serial: i64) -> Result<Option<Row>, postgres::Error> {
    let sql = concat!("SELECT ", columns!(), " FROM job WHERE serial = $1 FOR UPDATE SKIP LOCKED");
    Ok(db.first(sql, &[&serial])?.as_ref().map(read))
}

/// The first ready jobs of each lane, in the order of the line: an index scan that passes over what others are
/// taking. Nobody else can take these from here on.
pub(super) fn line(db: &mut Db, lanes: &[i64], n: i64) -> Result<Vec<Row>, postgres::Error> {
    let sql = concat!(
        "SELECT c.* FROM unnest($1::bigint[]) AS l(id) CROSS JOIN LATERAL (SELECT ",
        columns!(),
        " FROM job WHERE lane = l.id AND state = 3 ORDER BY due, serial LIMIT $2 FOR UPDATE SKIP LOCKED) c ",
        "ORDER BY c.due, c.serial"
    );
    Ok(db.query(sql, &[&lanes, &n])?.iter().map(read).collect())
}

/// The first column of [`insert`] that is false where the key was taken meanwhile.
pub(super) fn insert(db: &mut Db, row: &Row, spec: &str, trace: Option<&str>) -> Result<bool, postgres::Error> {
    let sql = concat!(
        "WITH j AS (INSERT INTO job (",
        columns!(),
        ") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22) ",
        "ON CONFLICT (queue, key) WHERE key IS NOT NULL DO NOTHING RETURNING serial) ",
        "INSERT INTO body SELECT serial, $23, $24 FROM j"
    );
    let written = write(row, |columns| db.execute(sql, &[columns, &[&spec, &trace]].concat()))?;
    Ok(written > 0)
}

/// Many rows at once. Fails where a key is taken.
pub(super) fn copy<'a>(db: &mut Db, rows: impl Iterator<Item = &'a Row>) -> Result<(), postgres::Error> {
    const NUMBER: Type = Type::INT8;
    let types = [[NUMBER; 11].as_slice(), &[Type::BOOL, NUMBER, Type::BOOL, Type::BOOL], &[NUMBER; 6], &[Type::TEXT]];
    let writer = db.client.copy_in(concat!("COPY job (", columns!(), ") FROM STDIN (FORMAT binary)"))?;
    let mut writer = BinaryCopyInWriter::new(writer, &types.concat());
    for row in rows {
        write(row, |columns| writer.write(columns))?;
    }
    writer.finish().map(drop)
}

/// The columns of a row, in their order.
fn write<T>(row: &Row, to: impl FnOnce(&[Param<'_>]) -> T) -> T {
    to(&[
        &row.serial,
        &row.tail,
        &row.queue,
        &row.lane,
        &row.code.stored(),
        &row.reason.map(reason_code),
        &row.due,
        &i64::from(row.priority),
        &i64::from(row.attempt),
        &i64::from(row.attempts),
        &i64::from(row.pending),
        &row.runs_on_fail,
        &row.slot,
        &row.cancel,
        &row.alone,
        &row.created,
        &row.started,
        &row.ended,
        &row.keep,
        &row.lease,
        &row.events,
        &row.key,
    ])
}

pub(super) fn update(db: &mut Db, row: &Row) -> Result<(), postgres::Error> {
    let sql = "UPDATE job SET state = $2, reason = $3, due = $4, attempt = $5, pending = $6, cancel = $7, \
               alone = $8, started = $9, ended = $10, lease = $11, events = $12 WHERE serial = $1";
    db.execute(
        sql,
        &[
            &row.serial,
            &row.code.stored(),
            &row.reason.map(reason_code),
            &row.due,
            &i64::from(row.attempt),
            &i64::from(row.pending),
            &row.cancel,
            &row.alone,
            &row.started,
            &row.ended,
            &row.lease,
            &row.events,
        ],
    )?;
    Ok(())
}
