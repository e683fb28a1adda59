//! How the world is: looked at before the plan, and replayable from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stdx::Chain;

use crate::check::Service;
use crate::moment::Moment;
use crate::spec::WorkerSpec;
use crate::store::kind::StoreFacts;
use crate::world::World;

/// How the world is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// When it was looked at.
    pub at: Moment,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// What is known of the store.
    pub store: StoreFacts,
    /// The program of each pool of workers.
    #[serde(default)]
    pub programs: BTreeMap<String, ProgramFacts>,
}

/// What is known of a pool's program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramFacts {
    /// Where it is, if it is anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Why it can't be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Looks at the world. What can't be seen is not there: the plan says what follows from that.
pub fn facts(service: &Service, world: &World) -> Facts {
    let programs = service.spec.workers.iter().map(|(name, worker)| (name.clone(), program(worker, world)));
    Facts {
        at: Moment::from(world.clock.now()),
        folder: world.folder.clone(),
        store: service.spec.store.facts(world),
        programs: programs.collect(),
    }
}

fn program(worker: &WorkerSpec, world: &World) -> ProgramFacts {
    let words = worker.command.as_deref().unwrap_or_default();
    let mut command = launch::Command::new("facts", words.first().cloned().unwrap_or_default());
    command.arguments = words.iter().skip(1).cloned().collect();
    command.environment = worker.environment_with(&world.environment);
    command.folder = worker.working_directory.as_ref().map_or(world.folder.clone(), |folder| world.folder.join(folder));
    match launch::find(&command) {
        Ok(path) => ProgramFacts { path: Some(path), why: None },
        Err(error) => ProgramFacts { path: None, why: Some(Chain(&error).to_string()) },
    }
}
