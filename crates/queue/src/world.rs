use std::path::PathBuf;

use document::Secret;
use stdx::Clock;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub clock: Clock,
    /// What relative paths start from.
    pub folder: PathBuf,
    /// The environment that processes are given. Without the secrets of this process.
    pub environment: Vec<(String, String)>,
    /// What opens the store, where a password does.
    pub store_password: Option<Secret>,
}
