-- Version 1. Times are milliseconds since 1970. A job's rows are found by `serial`, the first 63 bits of its id.
--
-- job.state: 0 scheduled, 1 waiting for parents, 2 parked behind a full concurrency key, 3 ready, 4 running,
--            5 succeeded, 6 failed, 7 cancelled.
-- job.due:   when its time comes (0, 1); its place in line, readyAt - priority x ageing (2, 3, 4); when it is
--            forgotten (5, 6, 7).

CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('version', 1), ('lease', 0), ('generation', 0);

CREATE TABLE queue (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL,
  owned INTEGER NOT NULL, paused INTEGER NOT NULL, draining INTEGER NOT NULL
);

-- The jobs of a queue that are of one type.
CREATE TABLE lane (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, kind TEXT);

CREATE TABLE tally (lane INTEGER, state INTEGER, jobs INTEGER NOT NULL, PRIMARY KEY (lane, state)) WITHOUT ROWID;

-- What changes while a job lives. What doesn't is in `body`, so that a change rewrites few bytes.
CREATE TABLE job (
  serial INTEGER PRIMARY KEY, tail INTEGER NOT NULL, queue INTEGER NOT NULL, lane INTEGER NOT NULL,
  state INTEGER NOT NULL, reason INTEGER, due INTEGER NOT NULL, priority INTEGER NOT NULL,
  attempt INTEGER NOT NULL, attempts INTEGER NOT NULL, pending INTEGER NOT NULL, on_fail INTEGER NOT NULL,
  slot INTEGER, cancel INTEGER NOT NULL, alone INTEGER NOT NULL, created INTEGER NOT NULL,
  started INTEGER, ended INTEGER, keep INTEGER NOT NULL, lease INTEGER, events INTEGER NOT NULL, key TEXT
);
CREATE INDEX job_list ON job (lane, state);
CREATE INDEX job_ready ON job (lane, due) WHERE state = 3;
CREATE INDEX job_scheduled ON job (due) WHERE state = 0;
CREATE INDEX job_ended ON job (due) WHERE state >= 5;
CREATE INDEX job_slot ON job (slot, state, lane, due) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX job_key ON job (queue, key) WHERE key IS NOT NULL;

CREATE TABLE body (serial INTEGER PRIMARY KEY, spec TEXT NOT NULL, trace TEXT);
CREATE TABLE result (serial INTEGER PRIMARY KEY, result TEXT, error TEXT, progress TEXT);

-- A concurrency key. A job in state 4 that names it holds one of its slots.
CREATE TABLE slot (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, key TEXT NOT NULL, most INTEGER NOT NULL,
  UNIQUE (queue, key));

-- `outcome` is null while the lease is held; afterwards it is what its finish was answered, or '' where it was lost.
CREATE TABLE lease (
  serial INTEGER, number INTEGER, secret INTEGER NOT NULL, worker TEXT NOT NULL, request TEXT, batch INTEGER NOT NULL,
  millis INTEGER NOT NULL, timeout INTEGER, at INTEGER NOT NULL, outcome TEXT, PRIMARY KEY (serial, number)
) WITHOUT ROWID;

-- Rows stay until the child ends, so that retention spares its parents. `told`: the parent's end has been counted.
CREATE TABLE edge (parent INTEGER, child INTEGER, told INTEGER NOT NULL, PRIMARY KEY (parent, child)) WITHOUT ROWID;
CREATE INDEX edge_child ON edge (child);

-- Event 1 is the job's creation, which is not stored.
CREATE TABLE event (
  serial INTEGER, sequence INTEGER, at INTEGER NOT NULL, event TEXT NOT NULL, data TEXT, PRIMARY KEY (serial, sequence)
) WITHOUT ROWID;
CREATE TABLE log (
  serial INTEGER, number INTEGER, at INTEGER NOT NULL, attempt INTEGER NOT NULL, line TEXT NOT NULL,
  PRIMARY KEY (serial, number)
) WITHOUT ROWID;

-- A file that an attempt left, in the folder beside this one. It is seen once the job has succeeded with that lease.
CREATE TABLE artifact (
  serial INTEGER, lease INTEGER, name TEXT, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, file TEXT NOT NULL,
  PRIMARY KEY (serial, lease, name)
) WITHOUT ROWID;

CREATE TABLE schedule (
  name TEXT PRIMARY KEY, spec TEXT NOT NULL, owned INTEGER NOT NULL, next_at INTEGER, last_at INTEGER, last_job INTEGER
) WITHOUT ROWID;
