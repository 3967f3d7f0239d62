-- Alerts that have fired: those that are resolved too, for as long as gaps are kept.
CREATE TABLE alerts (
    rule           TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    value          REAL    NOT NULL,
    detail         TEXT    NOT NULL,
    since_ns       INTEGER NOT NULL,
    fired_at_ns    INTEGER NOT NULL,
    resolved_at_ns INTEGER,
    PRIMARY KEY (fired_at_ns, rule, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE silences (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    rule     TEXT,
    subject  TEXT,
    reason   TEXT    NOT NULL,
    until_ns INTEGER NOT NULL
) STRICT;
