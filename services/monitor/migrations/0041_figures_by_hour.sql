-- The sums of `figures` by hour: a chart of a month reads a few rows of each hour.
CREATE TABLE figures_by_hour (
    hour   INTEGER NOT NULL,
    queue  TEXT    NOT NULL,
    kind   TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    bucket INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (hour, queue, kind, what, bucket)
) STRICT, WITHOUT ROWID;

INSERT INTO figures_by_hour (hour, queue, kind, what, bucket, count)
    SELECT minute / 60, queue, kind, what, bucket, SUM(count) FROM figures
    GROUP BY minute / 60, queue, kind, what, bucket;
