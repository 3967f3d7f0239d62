-- The sums of `figures` by five minutes, of all queues and kinds together: charts of some hours. They are kept for two
-- days, so no more of them are made here.
CREATE TABLE figures_by_five (
    five   BIGINT NOT NULL,
    what   TEXT   COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (five, what, bucket)
);

INSERT INTO figures_by_five (five, what, bucket, count)
    SELECT minute / 5, what, bucket, SUM(count) FROM figures
    WHERE minute >= (SELECT MAX(minute) FROM figures) - 2880
    GROUP BY minute / 5, what, bucket;

-- What jobs died of within a time, from the index alone.
CREATE INDEX jobs_dead ON jobs (ended_at_ns, fingerprint, kind) INCLUDE (seq)
    WHERE state = 'dead' AND ended_at_ns IS NOT NULL;
