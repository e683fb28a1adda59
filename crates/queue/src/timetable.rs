use std::time::Duration;

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use crate::error::Error;
use crate::moment::Moment;

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Every(i64),
    Cron(Box<Cron>, Tz),
}

/// The years that are looked through for the next time: February 29th on a Monday comes within 28, or 40 about 2100.
const YEARS_AHEAD: i32 = 41;

impl Timetable {
    /// From what a schedule says.
    pub fn new(cron: Option<&str>, every: Option<document::Duration>, time_zone: Option<&str>) -> Result<Self, Error> {
        match (cron, every) {
            (Some(cron), None) => {
                let zone = time_zone.unwrap_or("UTC");
                let zone: Tz = zone.parse().map_err(|_| {
                    Error::invalid("timeZone", format!("must be a time zone such as `Europe/Berlin`, not `{zone}`"))
                })?;
                let cron = Cron::read(cron).map_err(|why| Error::invalid("cron", why))?;
                let timetable = Self(Kind::Cron(Box::new(cron), zone));
                let never = timetable.after(Moment::from_millis(0)).is_none();
                if never { Err(Error::invalid("cron", "names a day that no month has")) } else { Ok(timetable) }
            }
            (None, Some(_)) if time_zone.is_some() => {
                Err(Error::invalid("timeZone", "belongs to `cron`; `every` has none"))
            }
            (None, Some(every)) if every.get() < Duration::from_secs(1) => {
                Err(Error::invalid("every", "must be at least 1s"))
            }
            (None, Some(every)) => {
                let millis = i64::try_from(every.get().as_millis()).ok();
                let millis = millis.filter(|_| every.get() <= crate::limit::DURATION_MAX);
                millis
                    .map(|millis| Self(Kind::Every(millis)))
                    .ok_or_else(|| Error::invalid("every", "is longer than ten years"))
            }
            _ => Err(Error::invalid("cron", "and `every` exclude each other, and one of them is needed")),
        }
    }

    /// The first time after `moment`.
    pub fn after(&self, moment: Moment) -> Option<Moment> {
        match &self.0 {
            Kind::Every(millis) => Some(Moment::from_millis((moment.millis().div_euclid(*millis) + 1) * millis)),
            Kind::Cron(cron, zone) => cron.after(moment, *zone),
        }
    }

    /// The last time that is not after `moment`, among those from `first`, which is one of them.
    pub fn last(&self, first: Moment, moment: Moment) -> Moment {
        if let Kind::Every(millis) = self.0 {
            return Moment::from_millis((moment.millis().div_euclid(millis) * millis).max(first.millis()));
        }
        // From a while before `moment`, so that years of minutes are not walked through.
        let mut last = first;
        for days in [1, 32, 367] {
            let from = Moment::from_millis(moment.millis() - days * 86_400_000);
            if let Some(found) = self.after(from).filter(|found| *found <= moment && *found >= first) {
                last = found;
                break;
            }
        }
        while let Some(next) = self.after(last).filter(|next| *next <= moment) {
            last = next;
        }
        last
    }
}

/// A crontab's five fields, as sets of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must match both day fields; where neither begins with `*`, one is enough, as in every crontab.
    both_days: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    fn read(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" => "0 0 1 1 *",
            text => text,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("must have five fields (minute, hour, day, month, weekday), not {}", fields.len()));
        };
        let mut weekday_bits = field(weekdays, 0, 7, &WEEKDAYS)?;
        // Sunday is 0 and 7.
        weekday_bits |= weekday_bits >> 7 & 1;
        Ok(Self {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: weekday_bits,
            both_days: days.starts_with('*') || weekdays.starts_with('*'),
        })
    }

    fn after(&self, moment: Moment, zone: Tz) -> Option<Moment> {
        let after = moment.utc();
        let mut local = after.with_timezone(&zone).naive_local();
        // A gap or a repetition gives times that are not after `moment`: they have fired. A day holds at most 1440.
        for _ in 0..=1440 * 2 {
            local = self.next_local(local)?;
            let instant = instant(local, zone)?;
            if instant > after {
                return Some(Moment::from_millis(instant.timestamp_millis()));
            }
        }
        None
    }

    /// The first local time after this one that all fields match.
    fn next_local(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = local.with_second(0)?.with_nanosecond(0)? + TimeDelta::minutes(1);
        let mut date = next.date();
        let mut from = Some((next.hour(), next.minute()));
        let last_year = date.year() + YEARS_AHEAD;
        while date.year() <= last_year {
            if self.months >> date.month() & 1 == 0 {
                date = first_of_next_month(date)?;
                from = None;
                continue;
            }
            if self.has_day(date)
                && let Some((hour, minute)) = self.next_time(from.unwrap_or((0, 0)))
            {
                return date.and_hms_opt(hour, minute, 0);
            }
            date = date.succ_opt()?;
            from = None;
        }
        None
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().num_days_from_sunday() & 1 == 1;
        if self.both_days { day && weekday } else { day || weekday }
    }

    fn next_time(&self, (hour, minute): (u32, u32)) -> Option<(u32, u32)> {
        let is_set = |bits: u64, at: u32| bits >> at & 1 == 1;
        if is_set(self.hours, hour)
            && let Some(minute) = (minute..60).find(|minute| is_set(self.minutes, *minute))
        {
            return Some((hour, minute));
        }
        let hour = (hour + 1..24).find(|hour| is_set(self.hours, *hour))?;
        Some((hour, self.minutes.trailing_zeros()))
    }
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    let (year, month) = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
}

/// When a local time is: the first of two, and where there is none, when the clocks have gone forward.
fn instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.with_timezone(&Utc)),
        LocalResult::None => {
            // The end of the gap: the first minute that exists again.
            (1..=24 * 60).find_map(|minutes| {
                let later = zone.from_local_datetime(&(local + TimeDelta::minutes(minutes))).earliest()?;
                Some(later.with_timezone(&Utc))
            })
        }
    }
}

/// `*`, `7`, `1-5`, `*/15`, `mon-fri`, `5/10`, and several with commas.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<u64, String> {
    let bad = || format!("has `{text}` where numbers from {low} to {high} belong, such as `*`, `1-5`, `*/15`, `1,2`");
    let number = |word: &str| {
        let lower = word.to_ascii_lowercase();
        // Months count from 1, weekdays from 0, as their fields do.
        let named = names.iter().position(|name| *name == lower).and_then(|at| u32::try_from(at).ok());
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let number = named.map(|at| at + low).or_else(|| word.parse().ok().filter(|_| is_number));
        number.filter(|number| (low..=high).contains(number)).ok_or_else(bad)
    };
    let mut bits = 0_u64;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step = match step {
            Some(step) => step.parse::<usize>().ok().filter(|step| (1..=60).contains(step)).ok_or_else(bad)?,
            None => 1,
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((first, last)) => (number(first)?, number(last)?),
            None if part.contains('/') => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return Err(bad());
        }
        (first..=last).step_by(step).for_each(|at| bits |= 1 << at);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn table(cron: &str, zone: &str) -> Timetable {
        Timetable::new(Some(cron), None, Some(zone)).unwrap()
    }

    fn next(timetable: &Timetable, from: &str, times: usize) -> Vec<String> {
        let mut moment = at(from);
        let step = || {
            moment = timetable.after(moment).unwrap();
            moment.to_string().replace(":00.000Z", "Z")
        };
        std::iter::repeat_with(step).take(times).collect()
    }

    #[test]
    fn fields_are_those_of_a_crontab() {
        let all = |cron: &str| next(&table(cron, "UTC"), "2026-01-30T23:50:00Z", 2);
        assert_eq!(all("*/15 * * * *"), ["2026-01-31T00:00Z", "2026-01-31T00:15Z"]);
        assert_eq!(all("30 2 * * mon-fri"), ["2026-02-02T02:30Z", "2026-02-03T02:30Z"]);
        assert_eq!(all("0 12 29 2 *"), ["2028-02-29T12:00Z", "2032-02-29T12:00Z"]);
        assert_eq!(all("0 0 1 * 7"), ["2026-02-01T00:00Z", "2026-02-08T00:00Z"], "either day will do");
        assert_eq!(all("5,10-12/2 3 */10 * *"), ["2026-01-31T03:05Z", "2026-01-31T03:10Z"]);
        assert_eq!(all("@monthly"), ["2026-02-01T00:00Z", "2026-03-01T00:00Z"]);
        for bad in ["", "* * * *", "60 * * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *"] {
            assert!(Timetable::new(Some(bad), None, None).is_err(), "{bad}");
        }
        assert!(Timetable::new(Some("0 0 30 2 *"), None, None).is_err(), "never");
        assert!(Timetable::new(Some("+5 * * * *"), None, None).is_err());
        assert!(Timetable::new(Some("* * * * *"), None, Some("Mars/Olympus")).is_err());
    }

    #[test]
    fn a_local_time_that_is_skipped_fires_once() {
        let berlin = table("30 2 * * *", "Europe/Berlin");
        let days = next(&berlin, "2026-03-28T00:00:00Z", 3);
        assert_eq!(days, ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
    }

    #[test]
    fn a_local_time_that_is_repeated_fires_once() {
        let berlin = table("30 2 * * *", "Europe/Berlin");
        let days = next(&berlin, "2026-10-24T12:00:00Z", 2);
        assert_eq!(days, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
        let hours = next(&table("0 * * * *", "Europe/Berlin"), "2026-10-24T23:30:00Z", 3);
        assert_eq!(hours, ["2026-10-25T00:00Z", "2026-10-25T02:00Z", "2026-10-25T03:00Z"]);
    }

    #[test]
    fn every_counts_from_1970() {
        let every = Timetable::new(None, Some(document::Duration::from_secs(90)), None).unwrap();
        assert_eq!(every.after(at("1970-01-01T00:01:00Z")), Some(at("1970-01-01T00:01:30Z")));
        assert_eq!(every.after(at("1970-01-01T00:01:30Z")), Some(at("1970-01-01T00:03:00Z")));
        assert!(Timetable::new(None, Some(document::Duration::from_millis(10)), None).is_err());
        assert!(Timetable::new(None, None, None).is_err());
    }

    #[test]
    fn the_last_time_that_passed_is_found_without_walking_there() {
        let minutes = table("* * * * *", "UTC");
        let last = minutes.last(at("2001-01-01T00:00:00Z"), at("2026-05-05T10:20:30Z"));
        assert_eq!(last, at("2026-05-05T10:20:00Z"));
        let years = table("0 0 29 2 *", "UTC");
        assert_eq!(years.last(at("2004-02-29T00:00:00Z"), at("2026-01-01T00:00:00Z")), at("2024-02-29T00:00:00Z"));
    }
}
