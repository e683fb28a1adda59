//! Jobs in a SQLite file.
/// x
pub struct Sqlite;
/// x
pub struct SqliteOptions;
