//! A connection, and what its statements come to.

use std::collections::HashMap;

use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Row, Statement};
use stdx::Chain;

use super::server::Server;
use crate::error::Error;

/// Why a piece of work did not end well.
#[derive(Debug)]
pub(super) enum Fault {
    /// The request is at fault: its own part is rolled back.
    Refused(Error),
    /// The store is, or another replica was quicker: the transaction is rolled back.
    Broken(Broken),
}

/// What the server said.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) why: String,
}

impl Broken {
    pub(super) fn error(&self) -> Error {
        Error::StoreDown { why: self.why.clone() }
    }
}

impl From<postgres::Error> for Broken {
    fn from(error: postgres::Error) -> Self {
        let why = match error.as_db_error() {
            Some(said) => format!("PostgreSQL: {} ({})", said.message(), said.code().code()),
            None => format!("PostgreSQL: {}", Chain(&error)),
        };
        Self { why }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<postgres::Error> for Fault {
    fn from(error: postgres::Error) -> Self {
        if error.code() == Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE) {
            return Self::Refused(Error::invalid("text", "must not hold the character U+0000"));
        }
        Self::Broken(error.into())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(Broken { why: format!("what is stored is not as it was written: {error}") })
    }
}

pub(super) type Done<T> = Result<T, Fault>;

/// What a statement is given.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// A connection with the statements that it has prepared.
pub(super) struct Db {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Db {
    pub(super) fn connect(server: &Server) -> Result<Self, Broken> {
        Ok(Self { client: server.connect()?, statements: HashMap::new() })
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, postgres::Error> {
        let statement = self.statement(sql)?;
        self.client.query(&statement, params)
    }

    /// The first row, if there is one.
    pub(super) fn first(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Option<Row>, postgres::Error> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// The first column of all rows.
    pub(super) fn numbers(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<i64>, postgres::Error> {
        Ok(self.query(sql, params)?.iter().map(|row| row.get(0)).collect())
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, postgres::Error> {
        let statement = self.statement(sql)?;
        self.client.execute(&statement, params)
    }
}
