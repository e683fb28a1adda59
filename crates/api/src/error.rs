use std::io;
use std::net::SocketAddr;

use stdx::Blame;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Everybody could do everything.
    #[error(
        "{address} can be reached from other machines and there is no `auth`; give tokens in `auth`, or listen on 127.0.0.1"
    )]
    Exposed {
        /// What was to be listened on.
        address: SocketAddr,
    },
    /// A token that guards nothing.
    #[error("the token of `{holder}` is {found}; at least {} characters are expected", crate::access::TOKEN_BYTES_MIN)]
    WeakToken {
        /// Whose it is.
        holder: String,
        /// What is wrong with it.
        found: String,
    },
    /// The listener is no use.
    #[error("find the address that is listened on")]
    Listen(#[source] io::Error),
}

impl Error {
    /// Whose part it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Exposed { .. } | Self::WeakToken { .. } => Blame::Document,
            Self::Listen(_) => Blame::World,
        }
    }
}
