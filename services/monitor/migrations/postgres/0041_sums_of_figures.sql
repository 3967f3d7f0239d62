-- The sums of `figures` by hour and by day: charts and reports of a month read a few thousand rows. The queue '' is all
-- queues together, of all kinds.
CREATE TABLE figures_by_hour (
    queue  TEXT   COLLATE "C" NOT NULL,
    hour   BIGINT NOT NULL,
    kind   TEXT   COLLATE "C" NOT NULL,
    what   TEXT   COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (queue, hour, kind, what, bucket)
);

CREATE TABLE figures_by_day (
    day    BIGINT NOT NULL,
    queue  TEXT   COLLATE "C" NOT NULL,
    kind   TEXT   COLLATE "C" NOT NULL,
    what   TEXT   COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (day, queue, kind, what, bucket)
);

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
