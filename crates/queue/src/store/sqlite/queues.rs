//! Queues and schedules, and who says how they are.

use std::sync::Arc;

use indexmap::IndexMap;
use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done, Queue};
use super::read;
use crate::error::Error;
use crate::moment::Moment;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::store::steps::Steps as _;
use crate::store::{Changed, Declaration};

impl Book {
    pub(super) fn put_queue(&mut self, name: &str, settings: QueueSettings) -> Done<Changed> {
        if let Ok(id) = self.queue_id(name)
            && self.queue(id)?.owned
        {
            return Err(Error::OwnedByDocument { what: "queue", name: name.to_owned() }.into());
        }
        self.store_queue(name, settings, false)?;
        self.queue_reply(name)
    }

    fn queue_reply(&self, name: &str) -> Done<Changed> {
        let queue = read::queues(&self.connection)?.into_iter().find(|queue| queue.name == name);
        Ok(Changed::Queue(Box::new(queue.ok_or_else(|| Error::no_queue(name))?)))
    }

    fn store_queue(&mut self, name: &str, settings: QueueSettings, owned: bool) -> Done<()> {
        checked("queue", name)?;
        settings.check()?;
        let known = self.queue_id(name).ok().map(|id| self.queue(id).cloned().map(|queue| (id, queue))).transpose()?;
        let text = serde_json::to_string(&settings)?;
        let settings = Arc::new(settings);
        let (id, queue) = if let Some((id, queue)) = known {
            let sql = "UPDATE queue SET settings = ?2, owned = ?3 WHERE id = ?1";
            self.connection.prepare_cached(sql)?.execute(params![id, text, owned])?;
            (id, Queue { settings, owned, ..queue })
        } else {
            let sql = "INSERT INTO queue (name, settings, owned, paused, draining) VALUES (?1, ?2, ?3, 0, 0)";
            let id = self.connection.prepare_cached(sql)?.insert(params![name, text, owned])?;
            let name = Arc::from(name);
            (id, Queue { name, settings, owned, paused: false, draining: false, lanes: Vec::new() })
        };
        self.remember_queue(id, queue);
        Ok(())
    }

    pub(super) fn change_queue(&mut self, name: &str, change: impl FnOnce(&mut Queue)) -> Done<Changed> {
        let id = self.queue_id(name)?;
        let mut queue = self.queue(id)?.clone();
        change(&mut queue);
        let sql = "UPDATE queue SET paused = ?2, draining = ?3 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![id, queue.paused, queue.draining])?;
        let ready = if queue.paused { Vec::new() } else { queue.lanes.clone() };
        self.remember_queue(id, queue);
        for lane in ready {
            let jobs = self.lanes.get(&lane).map_or(0, |lane| lane.jobs[super::row::Code::Ready.at()]);
            let wakes = usize::try_from(jobs).unwrap_or(0).min(crate::limit::LEASE_JOBS_MAX);
            self.wakes.extend((0..wakes).map(|_| super::book::Wake::Ready(lane)));
        }
        self.queue_reply(name)
    }

    pub(super) fn put_schedule(&mut self, name: &str, spec: &ScheduleSpec) -> Done<Changed> {
        self.not_owned(name)?;
        self.store_schedule(name, spec, false)?;
        let schedule = read::schedules(&self.connection)?.into_iter().find(|schedule| schedule.name == name);
        let schedule = schedule.ok_or_else(|| Error::NotFound { what: "schedule", name: name.to_owned() })?;
        Ok(Changed::Schedule(Box::new(schedule)))
    }

    pub(super) fn delete_schedule(&mut self, name: &str) -> Done<Changed> {
        self.not_owned(name)?;
        let gone = self.connection.prepare_cached("DELETE FROM schedule WHERE name = ?1")?.execute([name])?;
        if gone == 0 {
            return Err(Error::NotFound { what: "schedule", name: name.to_owned() }.into());
        }
        Ok(Changed::Done)
    }

    fn not_owned(&self, name: &str) -> Done<()> {
        let sql = "SELECT owned FROM schedule WHERE name = ?1";
        let owned = self.connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
        if owned == Some(true) {
            return Err(Error::OwnedByDocument { what: "schedule", name: name.to_owned() }.into());
        }
        Ok(())
    }

    /// A schedule whose times have not changed keeps its next one, so that a restart neither skips nor repeats it.
    fn store_schedule(&mut self, name: &str, spec: &ScheduleSpec, owned: bool) -> Done<()> {
        checked("schedule", name)?;
        let timetable = spec.check()?;
        self.queue_id(&spec.queue)?;
        let sql = "SELECT spec, next_at FROM schedule WHERE name = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?));
        let known = self.connection.prepare_cached(sql)?.query_row([name], read).optional()?;
        let known = known.map(|(old, next)| Ok::<_, serde_json::Error>((serde_json::from_str(&old)?, next)));
        let known: Option<(ScheduleSpec, Option<i64>)> = known.transpose()?;
        let is_same =
            |old: &ScheduleSpec| (&old.cron, old.every, &old.time_zone) == (&spec.cron, spec.every, &spec.time_zone);
        let next = match known {
            Some((old, Some(next))) if is_same(&old) => Some(next),
            _ => timetable.after(Moment::from_millis(self.now())).map(Moment::millis),
        };
        let sql = "INSERT INTO schedule (name, spec, owned, next_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
                   SET spec = excluded.spec, owned = excluded.owned, next_at = excluded.next_at";
        self.connection.prepare_cached(sql)?.execute(params![name, serde_json::to_string(spec)?, owned, next])?;
        Ok(())
    }

    pub(super) fn declare(&mut self, declaration: Declaration) -> Done<Changed> {
        let Declaration { generation, queues, schedules } = declaration;
        let sql = "SELECT value FROM meta WHERE name = 'generation'";
        let theirs: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        let (ours, theirs) = (generation, theirs.cast_unsigned());
        if ours < theirs {
            return Err(Error::StaleDocument { ours, theirs }.into());
        }
        let sql = "UPDATE meta SET value = ?1 WHERE name = 'generation'";
        self.connection.prepare_cached(sql)?.execute([ours.cast_signed()])?;
        self.give_up(&queues, &schedules)?;
        for (name, settings) in queues {
            self.store_queue(&name, settings, true)?;
        }
        for (name, spec) in &schedules {
            self.store_schedule(name, spec, true)?;
        }
        Ok(Changed::Done)
    }

    /// What an earlier document named and this one doesn't.
    fn give_up(
        &mut self,
        queues: &IndexMap<String, QueueSettings>,
        schedules: &IndexMap<String, ScheduleSpec>,
    ) -> Done<()> {
        let is_given_up = |queue: &&Queue| queue.owned && !queues.contains_key(&*queue.name);
        let given_up: Vec<Queue> = self.queues.values().filter(is_given_up).cloned().collect();
        for queue in given_up {
            self.store_queue(&queue.name, QueueSettings::clone(&queue.settings), false)?;
        }
        for schedule in read::schedules(&self.connection)? {
            if schedule.owned_by_document && !schedules.contains_key(&schedule.name) {
                self.connection.prepare_cached("DELETE FROM schedule WHERE name = ?1")?.execute([schedule.name])?;
            }
        }
        Ok(())
    }
}

/// Names stand in addresses, so they are made of what needs no escape there.
fn checked(what: &'static str, name: &str) -> Result<(), Error> {
    if crate::store::name_is_fine(name) {
        return Ok(());
    }
    let expected = format!(
        "must have a name of at most {} letters, digits, `-`, `_` and `.` that begins with a letter or a digit",
        crate::limit::NAME_BYTES_MAX
    );
    Err(Error::invalid(what, expected))
}
