-- Jobs that the streams have lost: known to live, and no message of theirs is left.
CREATE TABLE discrepancies (
    queue          TEXT    NOT NULL,
    id             BLOB    NOT NULL,
    kind           TEXT    NOT NULL,
    -- Where it stood.
    state          TEXT    NOT NULL,
    accepted_at_ns INTEGER,
    found_at_ns    INTEGER NOT NULL,
    -- When it was seen to have ended, or to be there again; null until then.
    resolved_at_ns INTEGER,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX discrepancies_by_time ON discrepancies (found_at_ns);
