//! Queues and schedules, and who says how they are.

use indexmap::IndexMap;

use super::book::{Book, Queue};
use super::db::Done;
use super::read;
use crate::error::Error;
use crate::moment::Moment;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::store::{Changed, Declaration};

impl Book {
    pub(super) fn put_queue(&mut self, name: &str, settings: &QueueSettings) -> Done<Changed> {
        if let Ok(id) = self.queue_id(name)
            && self.queue(id)?.owned
        {
            return Err(Error::OwnedByDocument { what: "queue", name: name.to_owned() }.into());
        }
        self.store_queue(name, settings, false)?;
        self.queue_reply(name)
    }

    fn queue_reply(&mut self, name: &str) -> Done<Changed> {
        let queue = read::queues(self.db()?)?.into_iter().find(|queue| queue.name == name);
        Ok(Changed::Queue(Box::new(queue.ok_or_else(|| Error::no_queue(name))?)))
    }

    fn store_queue(&mut self, name: &str, settings: &QueueSettings, owned: bool) -> Done<()> {
        checked("queue", name)?;
        settings.check()?;
        let text = serde_json::to_string(settings)?;
        let sql = "INSERT INTO queue (name, settings, owned, paused, draining) VALUES ($1, $2, $3, false, false) \
                   ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, owned = excluded.owned";
        self.db()?.execute(sql, &[&name, &text, &owned])?;
        self.queues_changed()
    }

    pub(super) fn change_queue(&mut self, name: &str, change: impl FnOnce(&mut Queue)) -> Done<Changed> {
        let id = self.queue_id(name)?;
        let mut queue = self.queue(id)?.clone();
        change(&mut queue);
        let sql = "UPDATE queue SET paused = $2, draining = $3 WHERE id = $1";
        self.db()?.execute(sql, &[&id, &queue.paused, &queue.draining])?;
        let ready = if queue.paused { Vec::new() } else { queue.lanes.clone() };
        self.queues_changed()?;
        let jobs = self.count_now(id, &[super::row::Code::Ready])?;
        let wakes = usize::try_from(jobs).unwrap_or(0).min(crate::limit::LEASE_JOBS_MAX);
        for lane in ready {
            self.wakes.extend((0..wakes).map(|_| super::book::Wake::Ready(lane)));
        }
        self.queue_reply(name)
    }

    pub(super) fn put_schedule(&mut self, name: &str, spec: &ScheduleSpec) -> Done<Changed> {
        self.not_owned(name)?;
        self.store_schedule(name, spec, false)?;
        let schedule = read::schedules(self.db()?)?.into_iter().find(|schedule| schedule.name == name);
        let schedule = schedule.ok_or_else(|| Error::NotFound { what: "schedule", name: name.to_owned() })?;
        Ok(Changed::Schedule(Box::new(schedule)))
    }

    pub(super) fn delete_schedule(&mut self, name: &str) -> Done<Changed> {
        self.not_owned(name)?;
        let gone = self.db()?.execute("DELETE FROM schedule WHERE name = $1", &[&name])?;
        if gone == 0 {
            return Err(Error::NotFound { what: "schedule", name: name.to_owned() }.into());
        }
        Ok(Changed::Done)
    }

    fn not_owned(&mut self, name: &str) -> Done<()> {
        let sql = "SELECT owned FROM schedule WHERE name = $1";
        let owned = self.db()?.first(sql, &[&name])?;
        if owned.is_some_and(|row| row.get(0)) {
            return Err(Error::OwnedByDocument { what: "schedule", name: name.to_owned() }.into());
        }
        Ok(())
    }

    /// A schedule whose times have not changed keeps its next one, so that a restart neither skips nor repeats it.
    fn store_schedule(&mut self, name: &str, spec: &ScheduleSpec, owned: bool) -> Done<()> {
        checked("schedule", name)?;
        let timetable = spec.check()?;
        self.queue_id(&spec.queue)?;
        let sql = "SELECT spec, next_at FROM schedule WHERE name = $1 FOR UPDATE";
        let known = self.db()?.first(sql, &[&name])?;
        let known = known.map(|row| Ok::<_, serde_json::Error>((serde_json::from_str(row.get(0))?, row.get(1))));
        let known: Option<(ScheduleSpec, Option<i64>)> = known.transpose()?;
        let is_same =
            |old: &ScheduleSpec| (&old.cron, old.every, &old.time_zone) == (&spec.cron, spec.every, &spec.time_zone);
        let next = match known {
            Some((old, Some(next))) if is_same(&old) => Some(next),
            _ => timetable.after(Moment::from_millis(self.now())).map(Moment::millis),
        };
        let sql = "INSERT INTO schedule (name, spec, owned, next_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE \
                   SET spec = excluded.spec, owned = excluded.owned, next_at = excluded.next_at";
        self.db()?.execute(sql, &[&name, &serde_json::to_string(spec)?, &owned, &next])?;
        Ok(())
    }

    pub(super) fn declare(&mut self, declaration: Declaration) -> Done<Changed> {
        let Declaration { generation, queues, schedules } = declaration;
        let sql = "SELECT value FROM meta WHERE name = 'generation' FOR UPDATE";
        let theirs: i64 = self.db()?.first(sql, &[])?.map_or(0, |row| row.get(0));
        let (ours, theirs) = (generation, theirs.cast_unsigned());
        if ours < theirs {
            return Err(Error::StaleDocument { ours, theirs }.into());
        }
        let sql = "UPDATE meta SET value = $1 WHERE name = 'generation'";
        self.db()?.execute(sql, &[&ours.cast_signed()])?;
        self.give_up(&queues, &schedules)?;
        for (name, settings) in queues {
            self.store_queue(&name, &settings, true)?;
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
            self.store_queue(&queue.name, &queue.settings, false)?;
        }
        for schedule in read::schedules(self.db()?)? {
            if schedule.owned_by_document && !schedules.contains_key(&schedule.name) {
                self.db()?.execute("DELETE FROM schedule WHERE name = $1", &[&schedule.name])?;
            }
        }
        Ok(())
    }
}

/// Names stand in addresses, so they are made of what needs no escape there.
fn checked(what: &'static str, name: &str) -> Result<(), Error> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && name.bytes().all(is_fine) && name.len() <= crate::limit::NAME_BYTES_MAX {
        return Ok(());
    }
    let expected = format!(
        "must have a name of at most {} letters, digits, `-`, `_` and `.` that begins with a letter or a digit",
        crate::limit::NAME_BYTES_MAX
    );
    Err(Error::invalid(what, expected))
}
