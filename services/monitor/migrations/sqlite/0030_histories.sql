-- A job's history stands in its row: one write a job and batch, instead of one for each event and each attempt. What was
-- stored before is carried over by the program (`store/carry.rs`), which removes `old_events` at its end.

DROP INDEX events_by_claimed_id;
ALTER TABLE events RENAME TO old_events;
DROP TABLE attempts;
DROP TABLE jobs;

-- One row a job. `seq` is the order in which the monitor first heard of the jobs: it never changes, so a page of a list
-- stays where it is while jobs come in.
CREATE TABLE jobs (
    seq                INTEGER PRIMARY KEY AUTOINCREMENT,
    queue              TEXT    NOT NULL,
    -- The 16 bytes of the UUID.
    id                 BLOB    NOT NULL,
    kind               TEXT    NOT NULL,
    -- As folded: `scheduled` and `retrying` mean `queued` from `due_at_ns` on.
    state              TEXT    NOT NULL,
    priority           TEXT    NOT NULL,
    attempt_count      INTEGER NOT NULL,
    accepted_at_ns     INTEGER,
    due_at_ns          INTEGER,
    ended_at_ns        INTEGER,
    -- Of the latest attempt: since when the job could run, and when it did.
    ready_at_ns        INTEGER,
    attempt_started_ns INTEGER,
    attempt_ended_ns   INTEGER,
    error_code         TEXT,
    error_message      TEXT,
    error_terminal     INTEGER,
    -- Of the error; it follows from the two columns above, and stands here to be searched by.
    fingerprint        TEXT,
    key                TEXT,
    tenant             TEXT,
    trace_id           TEXT,
    -- The id that a rejected message bears: whoever looks for it is told of the rejection.
    claimed_id         BLOB,
    -- Every event that is kept, as `windlass.v1.EventBatch`. All columns above but `seq` follow from it.
    history            BLOB    NOT NULL,
    UNIQUE (id, queue)
) STRICT;

-- Most jobs have succeeded; who looks for those finds them without an index.
CREATE INDEX jobs_by_state ON jobs (state, seq) WHERE state <> 'succeeded';
CREATE INDEX jobs_by_kind ON jobs (kind, seq);
CREATE INDEX jobs_by_queue ON jobs (queue, seq);
CREATE INDEX jobs_by_acceptance ON jobs (accepted_at_ns);
CREATE INDEX jobs_by_end ON jobs (state, ended_at_ns) WHERE ended_at_ns IS NOT NULL;
CREATE INDEX jobs_live ON jobs (queue, state, ready_at_ns, due_at_ns) WHERE ended_at_ns IS NULL;
CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint, seq) WHERE fingerprint IS NOT NULL;
CREATE INDEX jobs_by_key ON jobs (key, seq) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_tenant ON jobs (tenant, seq) WHERE tenant IS NOT NULL;
CREATE INDEX jobs_by_claimed_id ON jobs (claimed_id) WHERE claimed_id IS NOT NULL;

-- Histories of nothing but remarks, as refusals: they are no job until more is known.
CREATE TABLE remarks (
    queue   TEXT    NOT NULL,
    id      BLOB    NOT NULL,
    -- When something was last added.
    told_ns INTEGER NOT NULL,
    history BLOB    NOT NULL,
    PRIMARY KEY (id, queue)
) STRICT, WITHOUT ROWID;

-- How many rows of `jobs` stand where, and how many stood there when they were removed for their age.
CREATE TABLE counts (
    queue   TEXT    NOT NULL,
    state   TEXT    NOT NULL,
    jobs    INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

-- What happened in each minute: sums over the jobs, which outlive them. `what` is `accepted`, how attempts ended, as
-- which jobs ended, and the lengths of waits and runs (`bucket` says about how long, see `store/figures.rs`).
CREATE TABLE figures (
    minute INTEGER NOT NULL,
    queue  TEXT    NOT NULL,
    kind   TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    bucket INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (minute, queue, kind, what, bucket)
) STRICT, WITHOUT ROWID;
