//! The fused steps of one task: a batch goes in at a source and is pushed, depth first, to every sink it reaches.

use std::collections::BTreeMap;
use std::sync::Arc;

use stdx::Clock;

use crate::meter::{PartMeter, StreamMeter};
use crate::plan::{Consumer, Part, Plan};
use crate::quarantine::Quarantine;
use crate::{BadRow, Batch, Error, Sink, Step};

/// The opened parts behind a task's sources.
pub(crate) struct Flow {
    plan: Arc<Plan>,
    steps: BTreeMap<usize, Opened<Box<dyn Step>>>,
    sinks: BTreeMap<usize, Opened<Box<dyn Sink>>>,
}

struct Opened<T> {
    part: T,
    meter: PartMeter,
    bytes_seen: u64,
}

/// A piece of work: rows on their way into a consumer.
struct Task {
    to: Consumer,
    batch: Batch,
}

impl Flow {
    /// Opens the steps; the sinks come opened, by their number in the plan.
    pub(crate) fn new(
        plan: Arc<Plan>,
        sinks: BTreeMap<usize, Box<dyn Sink>>,
        meter: &StreamMeter,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let sinks = sinks
            .into_iter()
            .map(|(number, part)| {
                let meter = meter.part(&plan.sinks[number].name);
                (number, Opened { part, meter, bytes_seen: 0 })
            })
            .collect();
        let mut flow = Self { plan: Arc::clone(&plan), steps: BTreeMap::new(), sinks };
        flow.replan(plan, meter, clock)?;
        Ok(flow)
    }

    /// Opens the steps anew, after the plan has been made again for a wider schema. The sinks stay.
    pub(crate) fn replan(&mut self, plan: Arc<Plan>, meter: &StreamMeter, clock: &Clock) -> Result<(), Error> {
        self.steps.clear();
        for (number, step) in plan.steps.iter().enumerate() {
            let part = step.open(clock)?;
            self.steps.insert(number, Opened { part, meter: meter.part(&step.name), bytes_seen: 0 });
        }
        self.plan = plan;
        Ok(())
    }

    /// The sinks by number, for commits.
    pub(crate) fn sinks(&mut self) -> impl Iterator<Item = (&str, &mut Box<dyn Sink>)> {
        let plan = &self.plan;
        self.sinks.iter_mut().map(|(number, sink)| (plan.sinks[*number].name.as_str(), &mut sink.part))
    }

    /// A sink by name.
    pub(crate) fn sink(&mut self, name: &str) -> Option<&mut Box<dyn Sink>> {
        let number = self.plan.sinks.iter().position(|sink| sink.name == name)?;
        self.sinks.get_mut(&number).map(|sink| &mut sink.part)
    }

    /// Pushes a source's rows through everything behind it. Rows that fail go to `quarantine`.
    pub(crate) fn push(&mut self, source: usize, batch: &Batch, quarantine: &mut Quarantine) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        let mut stack = Vec::new();
        fan_out(&mut stack, &plan.sources[source].consumers, std::slice::from_ref(batch));
        while let Some(Task { to, batch }) = stack.pop() {
            if batch.columns.num_rows() == 0 {
                continue;
            }
            match to.part {
                Part::Step(number) => {
                    let stepped = self.step(number, to.slot, batch, quarantine)?;
                    fan_out(&mut stack, &plan.steps[number].consumers, &stepped);
                }
                Part::Sink(number) => self.write(number, &batch, quarantine)?,
            }
        }
        Ok(())
    }

    /// Runs a step; where it fails, halves the batch until the rows that fail stand alone.
    fn step(
        &mut self,
        number: usize,
        slot: usize,
        batch: Batch,
        quarantine: &mut Quarantine,
    ) -> Result<Vec<Batch>, Error> {
        let Some(step) = self.steps.get_mut(&number) else { return Ok(Vec::new()) };
        step.meter.rows_in.inc_by(batch.columns.num_rows() as u64);
        let (mut out, mut halves) = (Vec::new(), vec![batch]);
        while let Some(batch) = halves.pop() {
            let rows = batch.columns.num_rows();
            match step.part.run(slot, &batch.columns) {
                Ok(stepped) => {
                    step.meter.rows_out.inc_by(stepped.columns.num_rows() as u64);
                    let rows = stepped.rows.through(&batch.rows);
                    out.push(Batch { columns: stepped.columns, rows, input: batch.input });
                }
                Err(reason) if rows <= 1 => {
                    quarantine.put_row(&self.plan.steps[number].name, &batch, 0, &reason)?;
                }
                Err(_) => {
                    halves.push(batch.slice(rows / 2, rows - rows / 2));
                    halves.push(batch.slice(0, rows / 2));
                }
            }
        }
        Ok(out)
    }

    fn write(&mut self, number: usize, batch: &Batch, quarantine: &mut Quarantine) -> Result<(), Error> {
        let Some(sink) = self.sinks.get_mut(&number) else { return Ok(()) };
        let rows = batch.columns.num_rows() as u64;
        let bad = sink.part.write(batch)?;
        sink.meter.rows_in.inc_by(rows);
        sink.meter.rows_out.inc_by(rows - bad.len() as u64);
        let bytes = sink.part.bytes_written();
        sink.meter.bytes_out.inc_by(bytes.saturating_sub(sink.bytes_seen));
        sink.bytes_seen = bytes;
        for BadRow { row, reason } in bad {
            quarantine.put_row(&self.plan.sinks[number].name, batch, row as usize, &reason)?;
        }
        Ok(())
    }

    /// Counts the bytes that sinks wrote since they were last looked at.
    pub(crate) fn count_bytes(&mut self) {
        for sink in self.sinks.values_mut() {
            let bytes = sink.part.bytes_written();
            sink.meter.bytes_out.inc_by(bytes.saturating_sub(sink.bytes_seen));
            sink.bytes_seen = bytes;
        }
    }

    /// Lets direct sinks hand on what they buffer.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.sinks.values_mut().try_for_each(|sink| sink.part.flush())
    }

    /// Whether a sink has closed a file that could be published now.
    pub(crate) fn wants_commit(&self) -> bool {
        self.sinks.values().any(|sink| sink.part.wants_commit())
    }
}

fn fan_out(stack: &mut Vec<Task>, consumers: &[Consumer], batches: &[Batch]) {
    // Reversed, since the stack's top is served first: rows keep their order, and sinks that of the document.
    for batch in batches.iter().rev() {
        stack.extend(consumers.iter().rev().map(|to| Task { to: *to, batch: batch.clone() }));
    }
}
