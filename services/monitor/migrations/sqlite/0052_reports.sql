-- Reports that are made on a schedule, one for each instant.
CREATE TABLE reports (
    -- As daily-20260131T060000Z.
    id               TEXT    PRIMARY KEY,
    what             TEXT    NOT NULL,
    due_ns           INTEGER NOT NULL,
    -- A monitor makes and sends it, and has until then; after that another may.
    claimed_until_ns INTEGER NOT NULL,
    -- Null until it is made.
    made_ns          INTEGER,
    -- JSON; null until it is made.
    content          TEXT,
    -- Null until there is nothing left to do.
    done_ns          INTEGER,
    -- What came of sending it; null where it is sent nowhere, or not yet.
    delivery         TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX reports_by_due ON reports (due_ns);
