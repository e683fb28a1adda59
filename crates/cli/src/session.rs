//! What every verb is given: the values of the command line and of the environment, the clock, the runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use document::{Problem, Secrets, Settings};
use stdx::Clock;
use tokio::runtime::Runtime;

use crate::command::Global;
use crate::exit::Problems;
use crate::screen::Screen;
use crate::{documents, log};

/// Threads of the runtime on which I/O runs: it waits far more than it works.
const RUNTIME_THREADS: usize = 2;

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) screen: Screen,
    pub(crate) settings: Settings,
    pub(crate) secrets: Arc<Secrets>,
    /// The file of secrets, for processes that are started from here.
    pub(crate) secrets_file: Option<PathBuf>,
    pub(crate) clock: Clock,
    /// What relative paths start from.
    pub(crate) folder: PathBuf,
    /// The environment without what holds secrets: what processes that are started from here are given.
    environment: Vec<(String, String)>,
    runtime: Runtime,
}

impl Session {
    /// Takes what the command line and the environment say.
    pub(crate) fn new(global: &Global, environment: BTreeMap<String, String>) -> anyhow::Result<Session> {
        let no_color = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let screen = Screen::new(global.color, no_color);
        log::start(global.log_level, global.log_format, &screen);
        // A client that speaks TLS asks for the process's provider; nobody else installs one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (settings, mut problems) = settings(global);
        let open = environment.iter().filter(|(name, _)| !name.starts_with(Secrets::PREFIX));
        let shared: Vec<(String, String)> = open.map(|(name, value)| (name.clone(), value.clone())).collect();
        let secrets = secrets(global, environment).map_err(|found| problems.extend(found)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(Problems(problems).into());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("io")
            .enable_all()
            .build()
            .context("start the runtime")?;
        let folder = std::env::current_dir().context("find the current folder")?;
        let secrets_file = global.secrets.clone();
        let (secrets, clock) = (Arc::new(secrets), Clock::system());
        Ok(Session { screen, settings, secrets, secrets_file, clock, folder, environment: shared, runtime })
    }

    /// Where I/O runs.
    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// The world of one stream.
    pub(crate) fn world(&self, stream: &stream::Stream) -> stream::World {
        stream::World {
            clock: self.clock.clone(),
            runtime: self.handle(),
            pool: stream::Pool::new(usize::try_from(stream.spec.memory.bytes()).unwrap_or(usize::MAX)),
            secrets: Arc::clone(&self.secrets),
            folder: self.folder.clone(),
        }
    }

    /// The world of queues.
    pub(crate) fn jobs_world(&self) -> queue::World {
        let (folder, environment) = (self.folder.clone(), self.environment.clone());
        queue::World { clock: self.clock.clone(), folder, environment, store_password: None }
    }

    /// How this process names itself to another that wants the same task.
    pub(crate) fn holder(&self) -> String {
        let since = crate::figures::utc(self.clock.now().millis());
        format!("process {} (since {since}, in {})", std::process::id(), self.folder.display())
    }

    /// Ends without waiting for I/O that nobody asked to end.
    pub(crate) fn end(self) {
        self.runtime.shutdown_background();
    }
}

fn settings(global: &Global) -> (Settings, Vec<Problem>) {
    let (mut settings, mut problems) = (Settings::default(), Vec::new());
    for argument in &global.set_file {
        problems.extend(settings.set_file(argument).err());
    }
    for argument in &global.set {
        problems.extend(settings.set(argument).err());
    }
    (settings, problems)
}

fn secrets(global: &Global, environment: BTreeMap<String, String>) -> Result<Secrets, Vec<Problem>> {
    let secrets = Secrets::new(environment);
    match &global.secrets {
        Some(path) => {
            let name = path.display().to_string();
            let text = documents::read_text(path).map_err(|problem| vec![problem])?;
            secrets.file(&name, &text)
        }
        None => Ok(secrets),
    }
}
