-- The sums of `figures` by hour and by day: charts and reports of a month read a few thousand rows. The queue '' is all
-- queues together, of all kinds.
CREATE TABLE figures_by_hour (
    queue  TEXT    NOT NULL,
    hour   INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    bucket INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (queue, hour, kind, what, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE figures_by_day (
    day    INTEGER NOT NULL,
    queue  TEXT    NOT NULL,
    kind   TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    bucket INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (day, queue, kind, what, bucket)
) STRICT, WITHOUT ROWID;

INSERT INTO figures_by_hour (queue, hour, kind, what, bucket, count)
    SELECT queue, minute / 60, kind, what, bucket, SUM(count) FROM figures
    GROUP BY queue, minute / 60, kind, what, bucket;
INSERT INTO figures_by_hour (queue, hour, kind, what, bucket, count)
    SELECT '', minute / 60, '', what, bucket, SUM(count) FROM figures
    GROUP BY minute / 60, what, bucket;
INSERT INTO figures_by_day (day, queue, kind, what, bucket, count)
    SELECT minute / 1440, queue, kind, what, bucket, SUM(count) FROM figures
    GROUP BY minute / 1440, queue, kind, what, bucket;

-- A queue's jobs in one state, as its page and searches list them.
CREATE INDEX jobs_by_queue_state ON jobs (queue, state, seq) WHERE state <> 'succeeded';
