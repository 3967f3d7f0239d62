-- What publishers say of their tasks, to be searched by; it stands in the histories as well. Most jobs have none.
CREATE TABLE job_labels (
    -- As `name=value`.
    label   TEXT   COLLATE "C" NOT NULL,
    -- Of the job: its `seq`.
    job_seq BIGINT NOT NULL,
    PRIMARY KEY (label, job_seq)
);

CREATE INDEX job_labels_of_job ON job_labels (job_seq);
