-- Words (states, transitions, outcomes, priorities) are those of the wire, the API and the pages.
-- Instants are nanoseconds since 1970 in UTC, hence `_ns`. Names are compared by their bytes, as SQLite does.
--
-- From this version on, both databases have the same versions; what a column means is said in `../sqlite` too.

-- One row a job. `seq` is the order in which the monitor first heard of the jobs: it never changes, so a page of a list
-- stays where it is while jobs come in.
CREATE TABLE jobs (
    seq                BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue              TEXT    COLLATE "C" NOT NULL,
    -- The 16 bytes of the UUID.
    id                 BYTEA   NOT NULL,
    kind               TEXT    COLLATE "C" NOT NULL,
    -- As folded: `scheduled` and `retrying` mean `queued` from `due_at_ns` on.
    state              TEXT    COLLATE "C" NOT NULL,
    priority           TEXT    COLLATE "C" NOT NULL,
    attempt_count      BIGINT  NOT NULL,
    accepted_at_ns     BIGINT,
    due_at_ns          BIGINT,
    ended_at_ns        BIGINT,
    -- Of the latest attempt: since when the job could run, and when it did.
    ready_at_ns        BIGINT,
    attempt_started_ns BIGINT,
    attempt_ended_ns   BIGINT,
    error_code         TEXT    COLLATE "C",
    error_message      TEXT    COLLATE "C",
    error_terminal     BOOLEAN,
    -- Of the error; it follows from the two columns above, and stands here to be searched by.
    fingerprint        TEXT    COLLATE "C",
    key                TEXT    COLLATE "C",
    tenant             TEXT    COLLATE "C",
    trace_id           TEXT    COLLATE "C",
    -- The id that a rejected message bears: whoever looks for it is told of the rejection.
    claimed_id         BYTEA,
    -- Every event that is kept, as `windlass.v1.EventBatch`. All columns above but `seq` follow from it.
    history            BYTEA   NOT NULL,
    UNIQUE (id, queue)
);

-- Most jobs have succeeded; who looks for those finds them without an index.
CREATE INDEX jobs_by_state ON jobs (state, seq) WHERE state <> 'succeeded';
CREATE INDEX jobs_by_kind ON jobs (kind, seq);
CREATE INDEX jobs_by_queue ON jobs (queue, seq);
CREATE INDEX jobs_by_acceptance ON jobs (accepted_at_ns, seq);
CREATE INDEX jobs_by_end ON jobs (state, ended_at_ns, accepted_at_ns, queue) WHERE ended_at_ns IS NOT NULL;
CREATE INDEX jobs_live ON jobs (queue, state, ready_at_ns, due_at_ns) WHERE ended_at_ns IS NULL;
CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint, seq) WHERE fingerprint IS NOT NULL;
CREATE INDEX jobs_by_key ON jobs (key, seq) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_tenant ON jobs (tenant, seq) WHERE tenant IS NOT NULL;
CREATE INDEX jobs_by_claimed_id ON jobs (claimed_id) WHERE claimed_id IS NOT NULL;

-- Histories of nothing but remarks, as refusals: they are no job until more is known.
CREATE TABLE remarks (
    queue   TEXT   COLLATE "C" NOT NULL,
    id      BYTEA  NOT NULL,
    -- When something was last added.
    told_ns BIGINT NOT NULL,
    history BYTEA  NOT NULL,
    PRIMARY KEY (id, queue)
);

-- How many rows of `jobs` stand where, and how many stood there when they were removed for their age.
CREATE TABLE counts (
    queue            TEXT   COLLATE "C" NOT NULL,
    state            TEXT   COLLATE "C" NOT NULL,
    jobs             BIGINT NOT NULL DEFAULT 0,
    removed          BIGINT NOT NULL DEFAULT 0,
    -- When the latest of those ended.
    removed_until_ns BIGINT,
    PRIMARY KEY (queue, state)
);

-- What happened in each minute: sums over the jobs, which outlive them.
CREATE TABLE figures (
    minute BIGINT NOT NULL,
    queue  TEXT   COLLATE "C" NOT NULL,
    kind   TEXT   COLLATE "C" NOT NULL,
    what   TEXT   COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (minute, queue, kind, what, bucket)
);

-- What running handlers tell. Neither is history: lines may be lost, and the oldest of an attempt are removed.
CREATE TABLE progress (
    queue    TEXT             COLLATE "C" NOT NULL,
    job_id   TEXT             COLLATE "C" NOT NULL,
    attempt  BIGINT           NOT NULL,
    -- 0 to 1; null where it is not known.
    fraction DOUBLE PRECISION,
    note     TEXT             NOT NULL,
    at_ns    BIGINT           NOT NULL,
    PRIMARY KEY (queue, job_id)
);

CREATE TABLE log_lines (
    queue    TEXT   COLLATE "C" NOT NULL,
    job_id   TEXT   COLLATE "C" NOT NULL,
    attempt  BIGINT NOT NULL,
    -- From 1 within the attempt; what is missing was dropped.
    sequence BIGINT NOT NULL,
    at_ns    BIGINT NOT NULL,
    level    TEXT   NOT NULL,
    message  TEXT   NOT NULL,
    PRIMARY KEY (queue, job_id, attempt, sequence)
);

-- Which messages of EVENTS are in the tables above: ranges that do not touch.
CREATE TABLE processed (
    first_sequence BIGINT PRIMARY KEY,
    last_sequence  BIGINT NOT NULL
);

-- The stream that those sequences are of: no row, or one.
CREATE TABLE source (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    created  TEXT   NOT NULL
);

-- Which messages of EVENTS were gone before the monitor read them.
CREATE TABLE gaps (
    first_sequence BIGINT NOT NULL,
    last_sequence  BIGINT NOT NULL,
    found_at_ns    BIGINT NOT NULL,
    PRIMARY KEY (first_sequence, found_at_ns)
);

-- Jobs that the streams have lost: known to live, and no message of theirs is left.
CREATE TABLE discrepancies (
    queue          TEXT   COLLATE "C" NOT NULL,
    id             BYTEA  NOT NULL,
    kind           TEXT   COLLATE "C" NOT NULL,
    -- Where it stood.
    state          TEXT   COLLATE "C" NOT NULL,
    accepted_at_ns BIGINT,
    found_at_ns    BIGINT NOT NULL,
    -- When it was seen to have ended, or to be there again; null until then.
    resolved_at_ns BIGINT,
    PRIMARY KEY (queue, id)
);
CREATE INDEX discrepancies_by_time ON discrepancies (found_at_ns);

-- Alerts that have fired: those that are resolved too, for as long as gaps are kept.
CREATE TABLE alerts (
    rule           TEXT             COLLATE "C" NOT NULL,
    subject        TEXT             COLLATE "C" NOT NULL,
    value          DOUBLE PRECISION NOT NULL,
    detail         TEXT             NOT NULL,
    since_ns       BIGINT           NOT NULL,
    fired_at_ns    BIGINT           NOT NULL,
    resolved_at_ns BIGINT,
    PRIMARY KEY (fired_at_ns, rule, subject)
);

CREATE TABLE silences (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule     TEXT   COLLATE "C",
    subject  TEXT   COLLATE "C",
    reason   TEXT   NOT NULL,
    until_ns BIGINT NOT NULL
);
