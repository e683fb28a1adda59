/// Whose part an error is. The command line turns it into an exit code, HTTP into a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The document is wrong: exit code 2.
    Document,
    /// The world failed (a disk, a network, a server): exit code 1.
    World,
    /// A bug of ours: exit code 70.
    House,
}
