-- What a job's task had to do with others, to be searched by; it stands in the history as well.
-- The schedule that published it.
ALTER TABLE jobs ADD COLUMN schedule_id TEXT;
-- The job whose handler published it, as `queue/id`.
ALTER TABLE jobs ADD COLUMN parent TEXT;

-- Most jobs have neither.
CREATE INDEX jobs_by_schedule ON jobs (schedule_id, seq) WHERE schedule_id IS NOT NULL;
CREATE INDEX jobs_by_parent ON jobs (parent, seq) WHERE parent IS NOT NULL;
