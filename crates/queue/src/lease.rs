use document::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{JobId, Token};
use crate::job::{self, Failure, NewJob, Reason, State};
use crate::json::Json;
use crate::limit;
use crate::moment::Moment;

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRequest {
    /// From which queues. The job that has waited longest goes first, whichever queue it is in.
    pub queues: Vec<String>,
    /// Only jobs of these types. Default: of any type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// How many jobs at most. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub n: u32,
    /// How long to wait for a job when there is none. Default 0s: the reply comes at once. At most 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// What the worker is called.
    pub worker: String,
    /// What this request is called. The same worker repeating it gets the same leases, so that a lost reply leaves no
    /// job behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How long the worker holds the jobs without a beat. Default: as the queue says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Duration>,
}

const fn one() -> u32 {
    1
}

impl LeaseRequest {
    /// One job from one queue.
    pub fn new(queue: &str, worker: &str) -> Self {
        Self {
            queues: vec![queue.to_owned()],
            types: Vec::new(),
            n: 1,
            wait: None,
            worker: worker.to_owned(),
            request: None,
            lease: None,
        }
    }

    /// Whether it keeps the limits.
    pub fn check(&self) -> Result<(), Error> {
        if self.queues.is_empty() || self.queues.len() > limit::LEASE_QUEUES_MAX {
            return Err(Error::invalid("queues", format!("must name 1 to {} queues", limit::LEASE_QUEUES_MAX)));
        }
        if self.types.len() > limit::TYPES_MAX {
            return Err(Error::invalid("types", format!("must name at most {} types", limit::TYPES_MAX)));
        }
        if self.n == 0 || self.n as usize > limit::LEASE_JOBS_MAX {
            return Err(Error::invalid("n", format!("must be from 1 to {}", limit::LEASE_JOBS_MAX)));
        }
        job::text("worker", Some(&self.worker), limit::NAME_BYTES_MAX)?;
        job::text("request", self.request.as_deref(), limit::NAME_BYTES_MAX)?;
        let bounds = limit::LEASE_MIN..=limit::LEASE_MAX;
        if self.lease.is_some_and(|lease| !bounds.contains(&lease.get())) {
            return Err(Error::invalid("lease", "must be from 1s to 24h"));
        }
        Ok(())
    }
}

/// A job in a worker's hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// What proves that the worker holds it.
    pub token: Token,
    /// Its queue.
    pub queue: String,
    /// What sort of job it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it is to work on.
    pub payload: Json,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How often it is tried.
    pub attempts: u32,
    /// Until when the worker holds it without a beat, by the server's clock.
    pub until: Moment,
    /// How long a lease lasts: beat three times in it.
    pub lease: Duration,
    /// How long this attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What its client noted on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Json>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A sign of life for one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Beat {
    /// The job.
    pub id: JobId,
    /// Its token.
    pub token: Token,
    /// How far it is: anything. At most 4KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Json>,
}

/// The answer to a beat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pulse {
    /// The job.
    pub id: JobId,
    /// Whether its cancellation is asked for, or its timeout is over: stop, and say so with a nack.
    pub cancel: bool,
    /// Whether the worker should lease no more.
    pub drain: bool,
    /// Until when the worker holds it without another beat.
    pub until: Moment,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "OutcomeForm", into = "OutcomeForm")]
#[schemars(with = "OutcomeForm")]
pub struct Outcome {
    /// The job.
    pub id: JobId,
    /// Its token.
    pub token: Token,
    /// What became of it.
    pub ending: Ending,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It succeeded.
    Ack(Ack),
    /// It failed.
    Nack(Nack),
    /// It did not happen: the job goes back as if it had not been leased.
    Release(Release),
}

/// An attempt that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Ack {
    /// What it came to. Default null. At most 1MiB.
    pub result: Json,
    /// Jobs that are put with it, or not at all. At most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enqueue: Vec<NewJob>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Nack {
    /// What went wrong.
    pub error: Failure,
    /// Which of `error`, `timeout`, `outOfMemory`, `signal` it was. Default `error`.
    pub reason: Reason,
    /// Whether another attempt may help. Default true; false ends the job.
    pub retry: bool,
    /// Comes back after this time, and costs no attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snooze: Option<Duration>,
}

impl Default for Nack {
    fn default() -> Self {
        Self { error: Failure::default(), reason: Reason::Error, retry: true, snooze: None }
    }
}

/// A lease given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {}

/// How an attempt went: exactly one of `ack`, `nack`, `release`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Outcome")]
struct OutcomeForm {
    /// The job.
    id: JobId,
    /// Its token.
    token: Token,
    /// It succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ack: Option<Ack>,
    /// It failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nack: Option<Nack>,
    /// It did not happen: the job goes back as if it had not been leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<Release>,
}

impl TryFrom<OutcomeForm> for Outcome {
    type Error = &'static str;

    fn try_from(form: OutcomeForm) -> Result<Self, &'static str> {
        let ending = match (form.ack, form.nack, form.release) {
            (Some(ack), None, None) => Ending::Ack(ack),
            (None, Some(nack), None) => Ending::Nack(nack),
            (None, None, Some(release)) => Ending::Release(release),
            _ => return Err("an outcome has exactly one of `ack`, `nack` and `release`"),
        };
        Ok(Self { id: form.id, token: form.token, ending })
    }
}

impl From<Outcome> for OutcomeForm {
    fn from(outcome: Outcome) -> Self {
        let Outcome { id, token, ending } = outcome;
        let (mut ack, mut nack, mut release) = (None, None, None);
        match ending {
            Ending::Ack(it) => ack = Some(it),
            Ending::Nack(it) => nack = Some(it),
            Ending::Release(it) => release = Some(it),
        }
        Self { id, token, ack, nack, release }
    }
}

impl Outcome {
    /// Success, without children.
    pub fn ack(id: JobId, token: Token, result: Json) -> Self {
        Self { id, token, ending: Ending::Ack(Ack { result, enqueue: Vec::new() }) }
    }

    /// Failure, to be tried again.
    pub fn nack(id: JobId, token: Token, message: &str) -> Self {
        Self { id, token, ending: Ending::Nack(Nack { error: Failure::new(message), ..Nack::default() }) }
    }

    /// The lease given back.
    pub fn release(id: JobId, token: Token) -> Self {
        Self { id, token, ending: Ending::Release(Release {}) }
    }

    /// Whether it keeps the limits.
    pub fn check(&self) -> Result<(), Error> {
        match &self.ending {
            Ending::Ack(ack) => {
                job::bytes("result", Some(&ack.result), limit::RESULT_BYTES_MAX)?;
                if ack.enqueue.len() > limit::CHILDREN_MAX {
                    return Err(Error::invalid("enqueue", format!("holds more than {} jobs", limit::CHILDREN_MAX)));
                }
                ack.enqueue.iter().try_for_each(NewJob::check)
            }
            Ending::Nack(nack) => {
                nack.error.check()?;
                let own = [Reason::Error, Reason::Timeout, Reason::OutOfMemory, Reason::Signal];
                if !own.contains(&nack.reason) {
                    let expected = "must be `error`, `timeout`, `outOfMemory` or `signal`";
                    return Err(Error::invalid("reason", expected));
                }
                match nack.snooze {
                    Some(snooze) if snooze.get() > limit::DURATION_MAX => {
                        Err(Error::invalid("snooze", "is longer than ten years"))
                    }
                    _ => Ok(()),
                }
            }
            Ending::Release(_) => Ok(()),
        }
    }
}

/// Outcomes, and what the worker asks for next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finish {
    /// How attempts went.
    pub outcomes: Vec<Outcome>,
    /// What to lease next, once they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseRequest>,
}

/// Where a job went when its attempt was finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    /// The job.
    pub id: JobId,
    /// Where it is.
    pub state: State,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When it comes back, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Moment>,
    /// The children that were put with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enqueued: Vec<JobId>,
    /// Whether this was already stored by an earlier request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// The answer to a [`Finish`].
#[derive(Clone, Debug, PartialEq)]
pub struct FinishReply {
    /// One for each outcome, in their order.
    pub outcomes: Vec<Result<Finished, Error>>,
    /// What was leased.
    pub leases: Vec<Lease>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_of_three() {
        let id = JobId::new(1 << 20, 5);
        let read = |rest: &str| serde_json::from_str::<Outcome>(&format!(r#"{{"id":"{id}","token":"1.2"{rest}}}"#));
        assert!(matches!(read(r#","ack":{"result":1e400}"#).unwrap().ending, Ending::Ack(_)));
        assert!(matches!(read(r#","nack":{"snooze":"10m"}"#).unwrap().ending, Ending::Nack(_)));
        assert!(matches!(read(r#","release":{}"#).unwrap().ending, Ending::Release(_)));
        assert!(read("").is_err());
        assert!(read(r#","ack":{},"release":{}"#).is_err());
        let text = serde_json::to_string(&read(r#","ack":{"result":1e400}"#).unwrap()).unwrap();
        assert!(text.contains("1e400"), "{text}");
    }
}
