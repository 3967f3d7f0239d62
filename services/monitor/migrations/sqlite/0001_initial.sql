-- Words (states, transitions, outcomes, priorities) are those of the wire, the API and the pages.
-- Instants are nanoseconds since 1970 in UTC, hence `_ns`.

-- What EVENTS told, once for each transition. All else about jobs follows from it.
CREATE TABLE events (
    queue               TEXT    NOT NULL,
    job_id              TEXT    NOT NULL,
    attempt             INTEGER NOT NULL,
    transition          TEXT    NOT NULL,
    kind                TEXT,
    at_ns               INTEGER NOT NULL,
    worker              TEXT    NOT NULL,
    outcome             TEXT,
    error_code          TEXT,
    error_message       TEXT,
    error_terminal      INTEGER,
    result              BLOB,
    result_content_type TEXT    NOT NULL,
    due_at_ns           INTEGER,
    accepted_at_ns      INTEGER,
    started_at_ns       INTEGER,
    priority            TEXT    NOT NULL,
    traceparent         TEXT    NOT NULL,
    note                TEXT    NOT NULL,
    PRIMARY KEY (queue, job_id, attempt, transition)
) STRICT;

-- One row a job, for lists and counts. `seq` is the order in which the monitor first heard of the jobs: it never
-- changes, so a page of a list stays where it is while jobs come in.
CREATE TABLE jobs (
    seq                INTEGER PRIMARY KEY AUTOINCREMENT,
    queue              TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
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
    trace_id           TEXT,
    UNIQUE (queue, id)
) STRICT;

CREATE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_by_kind ON jobs (kind, seq);
CREATE INDEX jobs_by_queue ON jobs (queue, seq);
-- Holds all that counting needs.
CREATE INDEX jobs_by_queue_and_state ON jobs (queue, state, due_at_ns, ready_at_ns);

CREATE TABLE attempts (
    queue          TEXT    NOT NULL,
    job_id         TEXT    NOT NULL,
    number         INTEGER NOT NULL,
    worker         TEXT,
    started_at_ns  INTEGER,
    ended_at_ns    INTEGER,
    outcome        TEXT,
    error_code     TEXT,
    error_message  TEXT,
    error_terminal INTEGER,
    PRIMARY KEY (queue, job_id, number)
) STRICT;

-- Which messages of EVENTS are in the tables above: ranges that do not touch.
CREATE TABLE processed (
    first_sequence INTEGER PRIMARY KEY,
    last_sequence  INTEGER NOT NULL
) STRICT;

-- The stream that those sequences are of: no row, or one.
CREATE TABLE source (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    created  TEXT    NOT NULL
) STRICT;

-- Which messages of EVENTS were gone before the monitor read them.
CREATE TABLE gaps (
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    found_at_ns    INTEGER NOT NULL,
    PRIMARY KEY (first_sequence, found_at_ns)
) STRICT;
