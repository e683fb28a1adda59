//! Which files are done, kept small: names for one window, a time for what is older.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stdx::Timestamp;

use super::Order;
use super::listing::Entry;
use crate::{Error, Position};

/// The names of files that are at most this much older than the newest are kept: 24 hours, in microseconds.
const WINDOW_MICROS: i64 = 24 * 3600 * 1_000_000;

/// What is done.
///
/// `mark.time` is that of the newest file: of those done where files are read by time, of those listed where they are
/// read by name. The window are the 24 hours below it.
/// A file is done when it is named, or older than `floor`, or below the window and not after `mark.path`, which is how
/// far a pass by name came among the old files. When a pass is over, `floor` rises to the window's lower end. Reading
/// by time, everything below the window has been read at any moment, so `floor` follows at once.
#[derive(Debug)]
pub(super) struct Done {
    order: Order,
    floor: Timestamp,
    mark: Timestamp,
    pass: Option<Arc<str>>,
    names: HashMap<Arc<str>, Timestamp>,
}

/// In the middle of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Middle {
    /// Its path.
    pub(super) path: String,
    /// Unpacked bytes, or rows.
    pub(super) offset: u64,
}

/// How it is written into a position. Times are microseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
    /// Names by folder.
    done: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<Middle>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    time: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

const NEVER: Timestamp = Timestamp::from_micros(i64::MIN);

impl Done {
    /// What a position says, and the file it stands in.
    pub(super) fn load(order: Order, position: Option<Position>) -> Result<(Self, Option<Middle>), Error> {
        let stored = match position {
            None => Stored::default(),
            Some(Position(value)) => serde_json::from_value(value).map_err(|fault| {
                Error::World(format!("the position of a files source can't be understood: {fault}"))
            })?,
        };
        let mark = stored.mark.as_ref().map_or(NEVER, |mark| Timestamp::from_micros(mark.time));
        let mut names = HashMap::new();
        for (folder, files) in stored.done {
            // Until they are listed again, their time is not known: they are kept for a whole window.
            names.extend(files.iter().map(|file| (Arc::from(format!("{folder}{file}")), mark)));
        }
        let floor = stored.floor.map_or(NEVER, Timestamp::from_micros);
        let pass = stored.mark.and_then(|mark| mark.path).map(Arc::from);
        Ok((Self { order, floor, mark, pass, names }, stored.current))
    }

    /// The position, with the file it stands in.
    pub(super) fn position(&self, current: Option<Middle>) -> Position {
        let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, _) in self.names.iter().filter(|(_, time)| **time >= self.floor) {
            let (folder, file) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
            match done.get_mut(folder) {
                Some(files) => files.push(file.to_owned()),
                None => drop(done.insert(folder.to_owned(), vec![file.to_owned()])),
            }
        }
        for files in done.values_mut() {
            files.sort_unstable();
        }
        let known = |time: Timestamp| (time != NEVER).then(|| time.micros());
        let path = self.pass.as_deref().map(str::to_owned);
        let mark = known(self.mark).map(|time| Mark { time, path });
        let stored = Stored { floor: known(self.floor), mark, done, current };
        Position(serde_json::to_value(stored).expect("strings and numbers can be written"))
    }

    /// Whether a file need not be read. Learns its time.
    pub(super) fn has(&mut self, entry: &Entry) -> bool {
        if let Some(time) = self.names.get_mut(&entry.path) {
            *time = entry.time;
            return true;
        }
        entry.time < self.floor
            || entry.time < self.window() && self.pass.as_ref().is_some_and(|pass| entry.path <= *pass)
    }

    /// A listing is going to be read; `newest` is the latest time in it.
    pub(super) fn begin(&mut self, newest: Timestamp) {
        if self.order == Order::Name && self.pass.is_none() {
            self.mark = self.mark.max(newest);
        }
    }

    /// A file has been read.
    pub(super) fn finish(&mut self, entry: &Entry) {
        match self.order {
            Order::Name if entry.time < self.window() => {
                let path = Some(Arc::clone(&entry.path));
                self.pass = self.pass.take().max(path);
            }
            Order::Name => drop(self.names.insert(Arc::clone(&entry.path), entry.time)),
            Order::Time => {
                self.names.insert(Arc::clone(&entry.path), entry.time);
                self.mark = self.mark.max(entry.time);
                self.floor = self.floor.max(self.window());
            }
        }
    }

    /// All that was listed has been read.
    pub(super) fn end(&mut self) {
        self.floor = self.floor.max(self.window());
        self.pass = None;
        let floor = self.floor;
        self.names.retain(|_, time| *time >= floor);
    }

    /// The window's lower end.
    fn window(&self) -> Timestamp {
        Timestamp::from_micros(self.mark.micros().saturating_sub(WINDOW_MICROS))
    }
}
