-- What running handlers tell. Neither is history: lines may be lost, and the oldest of an attempt are removed.

-- How far the latest attempt that said so is.
CREATE TABLE progress (
    queue    TEXT    NOT NULL,
    job_id   TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    -- 0 to 1; null where it is not known.
    fraction REAL,
    note     TEXT    NOT NULL,
    at_ns    INTEGER NOT NULL,
    PRIMARY KEY (queue, job_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_lines (
    queue    TEXT    NOT NULL,
    job_id   TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    -- From 1 within the attempt; what is missing was dropped.
    sequence INTEGER NOT NULL,
    at_ns    INTEGER NOT NULL,
    level    TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    PRIMARY KEY (queue, job_id, attempt, sequence)
) STRICT, WITHOUT ROWID;
