-- Version 1. Times are milliseconds since 1970; those of leases are without the jumps that `meta.skew` remembers. A
-- job's rows are found by `serial`, the first 63 bits of its id.
--
-- job.state: 0 scheduled, 1 waiting for parents, 2 parked behind a full concurrency key, 3 ready, 4 running,
--            5 succeeded, 6 failed, 7 cancelled.
-- job.due:   when its time comes (0, 1); its place in line, readyAt - priority x ageing (2, 3, 4); when it is
--            forgotten (5, 6, 7).

-- revision: grows when queues or lanes change. swept: when somebody swept last, by the time of leases.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO meta VALUES ('generation', 0), ('revision', 1), ('skew', 0), ('epoch', 0), ('swept', 0);

-- Blocks of numbers, so that replicas make ids that differ.
CREATE SEQUENCE serials MINVALUE 0 START 0 INCREMENT 64;
CREATE SEQUENCE leases;

CREATE TABLE queue (
  id BIGSERIAL PRIMARY KEY, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL,
  owned BOOLEAN NOT NULL, paused BOOLEAN NOT NULL, draining BOOLEAN NOT NULL
);

-- The jobs of a queue that are of one type.
CREATE TABLE lane (id BIGSERIAL PRIMARY KEY, queue BIGINT NOT NULL, kind TEXT);
CREATE UNIQUE INDEX lane_kind ON lane (queue, coalesce(kind, ''), (kind IS NULL));

-- Counts are kept, not counted. Each transaction adds its differences; the sweep sums them up, so that no two
-- transactions wait for one row.
CREATE TABLE tally (lane BIGINT, state BIGINT, jobs BIGINT NOT NULL, PRIMARY KEY (lane, state));
CREATE TABLE tally_delta (lane BIGINT NOT NULL, state BIGINT NOT NULL, jobs BIGINT NOT NULL);

-- What changes while a job lives. What doesn't is in `body`, so that a change rewrites few bytes.
CREATE TABLE job (
  serial BIGINT PRIMARY KEY, tail BIGINT NOT NULL, queue BIGINT NOT NULL, lane BIGINT NOT NULL,
  state BIGINT NOT NULL, reason BIGINT, due BIGINT NOT NULL, priority BIGINT NOT NULL,
  attempt BIGINT NOT NULL, attempts BIGINT NOT NULL, pending BIGINT NOT NULL, on_fail BOOLEAN NOT NULL,
  slot BIGINT, cancel BOOLEAN NOT NULL, alone BOOLEAN NOT NULL, created BIGINT NOT NULL,
  started BIGINT, ended BIGINT, keep BIGINT NOT NULL, lease BIGINT, events BIGINT NOT NULL, key TEXT
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX job_list ON job (lane, state, serial);
CREATE INDEX job_ready ON job (lane, due, serial) WHERE state = 3;
CREATE INDEX job_scheduled ON job (due) WHERE state = 0;
CREATE INDEX job_ended ON job (due) WHERE state >= 5;
CREATE INDEX job_slot ON job (slot, state, lane, due, serial) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX job_key ON job (queue, key) WHERE key IS NOT NULL;

CREATE TABLE body (serial BIGINT PRIMARY KEY, spec TEXT NOT NULL, trace TEXT);
CREATE TABLE result (serial BIGINT PRIMARY KEY, result TEXT, error TEXT, progress TEXT);

-- A concurrency key. Its row is locked by whoever counts its running jobs to start or to park some.
CREATE TABLE slot (id BIGSERIAL PRIMARY KEY, queue BIGINT NOT NULL, key TEXT NOT NULL, most BIGINT NOT NULL,
  UNIQUE (queue, key));

-- `outcome` is null while the lease is held; afterwards it is what its finish was answered, or '' where it was lost.
-- until, over, grace: when it lapses, when the attempt has taken too long, when a cancelled job has had its grace.
CREATE TABLE lease (
  serial BIGINT, number BIGINT, secret BIGINT NOT NULL, worker TEXT NOT NULL, request TEXT, batch BIGINT NOT NULL,
  millis BIGINT NOT NULL, until BIGINT NOT NULL, over BIGINT, grace BIGINT, outcome TEXT,
  PRIMARY KEY (serial, number)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lease_held ON lease (least(until, over, grace)) WHERE outcome IS NULL;
CREATE INDEX lease_request ON lease (worker, request) WHERE outcome IS NULL AND request IS NOT NULL;

-- Workers that are to lease no more.
CREATE TABLE drained (worker TEXT PRIMARY KEY);

-- Rows stay until the child ends, so that retention spares its parents. `told`: the parent's end has been counted.
CREATE TABLE edge (parent BIGINT, child BIGINT, told BOOLEAN NOT NULL, PRIMARY KEY (parent, child));
CREATE INDEX edge_child ON edge (child);

-- Event 1 is the job's creation, which is not stored.
CREATE TABLE event (
  serial BIGINT, sequence BIGINT, at BIGINT NOT NULL, event TEXT NOT NULL, data TEXT, PRIMARY KEY (serial, sequence)
);
CREATE TABLE log (
  serial BIGINT, number BIGINT, at BIGINT NOT NULL, attempt BIGINT NOT NULL, line TEXT NOT NULL,
  PRIMARY KEY (serial, number)
);
-- Where the log of a job ends.
CREATE TABLE log_end (serial BIGINT PRIMARY KEY, number BIGINT NOT NULL, bytes BIGINT NOT NULL, is_full BOOLEAN NOT NULL);

-- A file that an attempt left. It is seen once the job has succeeded with that lease.
CREATE TABLE artifact (
  serial BIGINT, lease BIGINT, name TEXT, bytes BIGINT NOT NULL, sha256 TEXT NOT NULL, file BIGINT NOT NULL,
  PRIMARY KEY (serial, lease, name)
);
CREATE SEQUENCE files;
CREATE TABLE artifact_part (
  file BIGINT, part BIGINT, serial BIGINT NOT NULL, lease BIGINT NOT NULL, bytes BYTEA NOT NULL, PRIMARY KEY (file, part)
);
CREATE INDEX artifact_part_job ON artifact_part (serial);

CREATE TABLE schedule (
  name TEXT PRIMARY KEY, spec TEXT NOT NULL, owned BOOLEAN NOT NULL, next_at BIGINT, last_at BIGINT, last_job BIGINT
);
