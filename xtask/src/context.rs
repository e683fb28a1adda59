//! What is known before a stage runs: folders, and whether a person or CI is asking.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// What every stage is told.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What is fetched once and kept: tools, the Python environment. Never inside the checkout.
    pub(crate) cache: PathBuf,
    /// What runs for the tests: a folder for each service.
    pub(crate) services: PathBuf,
    /// Where cargo puts the programs of the `dev` profile.
    pub(crate) built: PathBuf,
    /// The target folder, when the caller named one.
    pub(crate) target: Option<PathBuf>,
    /// A folder of real alerts, where there is one.
    pub(crate) alerts: Option<PathBuf>,
    /// `CI=true`: nothing may be skipped, and what is missing is installed.
    pub(crate) ci: bool,
    /// Compare generated files instead of writing them.
    pub(crate) check: bool,
    /// All stages are asked for, so services that the tests use are started for them.
    pub(crate) whole: bool,
}

impl Context {
    /// Reads the environment, once.
    #[expect(clippy::disallowed_methods, reason = "the place where the environment is read")]
    pub(crate) fn read(check: bool, whole: bool) -> Result<Context> {
        let root = root()?;
        let cache = match (env::var_os("HEADWATER_CACHE"), env::var_os("HOME")) {
            (Some(cache), _) => std::path::absolute(cache)?,
            (None, Some(home)) => Path::new(&home).join(".cache/headwater"),
            (None, None) => {
                anyhow::bail!("set HEADWATER_CACHE or HOME: tools and the Python environment are kept there")
            }
        };
        ensure!(
            !cache.starts_with(&root),
            "HEADWATER_CACHE is {}, inside the checkout: name a folder elsewhere",
            cache.display()
        );
        let program = env::current_exe().context("find the folder of built programs")?;
        let alerts = env::var_os("HEADWATER_ALERTS").map(PathBuf::from).or_else(|| {
            let beside = root.parent()?.join("shared/data/ztf");
            beside.is_dir().then_some(beside)
        });
        let services = env::var_os("HEADWATER_SERVICES").map(std::path::absolute).transpose()?;
        Ok(Context {
            services: services.unwrap_or_else(|| cache.join("services")),
            cache,
            built: program.parent().unwrap_or(&root).to_path_buf(),
            target: env::var_os("CARGO_TARGET_DIR").map(std::path::absolute).transpose()?,
            alerts,
            ci: env::var_os("CI").is_some_and(|value| value == "true" || value == "1"),
            check,
            whole,
            root,
        })
    }
}

/// The checkout: the folder above this crate's.
#[expect(clippy::disallowed_methods, reason = "the place where the environment is read")]
pub(crate) fn root() -> Result<PathBuf> {
    let own = env::var_os("CARGO_MANIFEST_DIR").context("start this program with `cargo xtask`")?;
    Ok(Path::new(&own).parent().context("find the folder above xtask")?.to_path_buf())
}
