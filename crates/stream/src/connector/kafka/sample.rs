//! A few messages, to infer a schema from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::topic_partition_list::Offset;
use stdx::{Bell, Clock};

use super::client::{Client, Queue};
use super::{SourceSpec, metadata};
use crate::{Chunk, Ends, Error, Limit, Origin, World};

/// How long messages are waited for.
const WITHIN: Duration = Duration::from_secs(5);

/// Some of the newest messages, or none where there are none. Waits a few seconds at most.
pub(crate) fn sample(
    spec: &SourceSpec,
    partitions: &BTreeMap<String, u32>,
    limit: Limit,
    world: &World,
) -> Result<Option<Chunk>, Error> {
    let client = metadata::looker(spec, world)?;
    let keys: Vec<(String, i32)> = partitions
        .iter()
        .flat_map(|(topic, count)| (0..*count).filter_map(|id| Some((topic.clone(), i32::try_from(id).ok()?))))
        .collect();
    let at = |offset: Offset| keys.iter().map(|(topic, id)| (topic.clone(), *id, offset)).collect();
    let (firsts, ends) =
        (metadata::offsets(&client, at(Offset::Beginning))?, metadata::offsets(&client, at(Offset::End))?);
    let offset = |found: &BTreeMap<(String, i32), Option<i64>>, key: &(String, i32)| {
        found.get(key).copied().flatten().unwrap_or(0)
    };
    let filled: Vec<_> = keys.iter().filter(|key| offset(&firsts, key) < offset(&ends, key)).take(limit.rows).collect();
    if filled.is_empty() {
        return Ok(None);
    }
    let share = i64::try_from((limit.rows / filled.len()).max(1)).unwrap_or(i64::MAX);
    let from = |key: &(String, i32)| offset(&firsts, key).max(offset(&ends, key) - share);
    let wanted: Vec<_> = filled.iter().map(|key| (key.0.as_str(), key.1, Offset::Offset(from(key)))).collect();
    let bell = Bell::default();
    let queues = client.take(&wanted, &bell)?;
    let ends = filled.iter().map(|key| offset(&ends, key)).collect();
    let chunk = gather(&client, queues, ends, limit, &bell);
    client.release(&wanted);
    chunk
}

/// Takes messages from the queues until all are at their ends, the limit is reached, or time is up.
fn gather(
    client: &Client,
    mut queues: Vec<Queue>,
    mut ends: Vec<i64>,
    limit: Limit,
    bell: &Bell,
) -> Result<Option<Chunk>, Error> {
    let reader = client.tell(bell);
    let clock = Clock::system();
    let mut taken = Taken::default();
    while !queues.is_empty() && clock.elapsed() < WITHIN && !taken.is_full(limit) {
        client.check()?;
        let (mut at, mut found) = (0, false);
        while at < queues.len() {
            let next = match queues[at].poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    found = true;
                    taken.push(&message);
                    message.offset() + 1
                }
                // At its end, or of no use.
                Some(Err(_)) => i64::MAX,
                None => -1,
            };
            if next >= ends[at] {
                queues.swap_remove(at);
                ends.swap_remove(at);
            } else {
                at += 1;
            }
        }
        if !found && !queues.is_empty() {
            bell.wait(&clock, Some(WITHIN));
        }
    }
    client.forget(reader);
    Ok(taken.chunk())
}

/// Messages, each with its origin.
#[derive(Default)]
struct Taken {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    origins: Vec<(u32, Origin)>,
}

impl Taken {
    fn is_full(&self, limit: Limit) -> bool {
        self.ends.len() >= limit.rows || self.bytes.len() >= limit.bytes
    }

    /// Adds a message; one without a value has nothing to tell.
    fn push(&mut self, message: &impl Message) {
        let Some(payload) = message.payload() else { return };
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        let input: Arc<str> = format!("{}-{}", message.topic(), message.partition()).into();
        self.bytes.extend_from_slice(payload);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.origins.push((number, Origin { input, offset: u64::try_from(message.offset()).unwrap_or(0) }));
    }

    fn chunk(self) -> Option<Chunk> {
        let ends = Ends::At { ends: self.ends, bytes: false };
        let bytes = Bytes::from(self.bytes);
        (!self.origins.is_empty()).then(|| Chunk { bytes, ends, header: None, origins: self.origins, beside: None })
    }
}
