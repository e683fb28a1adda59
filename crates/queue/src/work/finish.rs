//! Tells how attempts went, until the server has answered.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::Pace;
use super::client::{ANSWER, Client, Patience, Refusal, Trouble, is_lost};
use crate::job::Failure;
use crate::lease::{Ending, Finish, Lease, Nack, Outcome};

/// What the server made of a [`Finish`].
#[derive(Default)]
pub(super) struct Settled {
    pub(super) outcomes: Vec<(Outcome, Verdict)>,
    pub(super) leases: Vec<Lease>,
    /// How many leases were asked for.
    pub(super) asked: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stored,
    Lost,
    /// The server was away for as long as anybody waits.
    Unanswered,
}

#[derive(Deserialize)]
struct Reply {
    outcomes: Vec<Value>,
    #[serde(default)]
    leases: Vec<Lease>,
}

/// Repeats the same request, with the same tokens and the same name, so that an answer that was lost changes nothing.
pub(super) async fn finish(client: Arc<Client>, pace: Pace, finish: Finish) -> Settled {
    let until = Instant::now() + pace.finish_max;
    let mut patience = Patience::new(pace);
    let mut settled = Settled::default();
    let Finish { outcomes: mut open, mut lease } = finish;
    settled.asked = lease.as_ref().map_or(0, |lease| lease.n as usize);
    let mut singly = false;
    while !open.is_empty() && Instant::now() < until {
        let count = if singly { 1 } else { open.len() };
        let body = Finish { outcomes: open[..count].to_vec(), lease: lease.clone() };
        match client.post::<Reply>("/v1/leases/finish", &body, ANSWER).await {
            Ok(reply) if reply.outcomes.len() == count => {
                lease = None;
                settled.leases.extend(reply.leases);
                let rest = open.split_off(count);
                let again = settled.take(std::mem::replace(&mut open, rest), &reply.outcomes);
                if !again.is_empty() {
                    open.extend(again);
                    let why = "some outcomes were not taken yet".to_owned();
                    patience.wait("finish jobs", &Trouble::Away { why, wait: None }).await;
                }
            }
            Ok(_) => {
                let why = "the reply has not one item for each outcome".to_owned();
                patience.wait("finish jobs", &Trouble::Away { why, wait: None }).await;
            }
            // One bad outcome must not hold up its neighbours.
            Err(Trouble::Refused { .. }) if count > 1 => singly = true,
            Err(Trouble::Refused { code, why }) => {
                let outcome = open.remove(0);
                open.extend(settled.refused(outcome, &code, &why));
            }
            Err(away) => patience.wait("finish jobs", &away).await,
        }
    }
    settled.outcomes.extend(open.into_iter().map(|outcome| (outcome, Verdict::Unanswered)));
    settled
}

impl Settled {
    /// Sorts what was answered, and hands back what must be told again.
    fn take(&mut self, outcomes: Vec<Outcome>, items: &[Value]) -> Vec<Outcome> {
        let mut again = Vec::new();
        for (outcome, item) in outcomes.into_iter().zip(items) {
            match Refusal::of(item) {
                None => self.outcomes.push((outcome, Verdict::Stored)),
                Some(refusal) if refusal.is_passing => again.push(outcome),
                Some(refusal) => again.extend(self.refused(outcome, &refusal.code, &refusal.why)),
            }
        }
        again
    }

    /// A lease that is lost is lost. Whatever else is wrong with a result, its job must not stay without an end: it is
    /// told as a failure.
    fn refused(&mut self, outcome: Outcome, code: &str, why: &str) -> Option<Outcome> {
        if is_lost(code) || !matches!(outcome.ending, Ending::Ack(_)) {
            tracing::warn!(job = %outcome.id, code, why, "finish: not taken");
            self.outcomes.push((outcome, Verdict::Lost));
            return None;
        }
        let error = Failure::new(format!("the server refused the result: {why}"));
        let ending = Ending::Nack(Nack { error, ..Nack::default() });
        Some(Outcome { ending, ..outcome })
    }
}
