-- For the fleet as it was at an earlier instant: what lived then has an end after it and an acceptance before it, and
-- how many had ended is read from the index alone.
DROP INDEX jobs_by_end;
CREATE INDEX jobs_by_end ON jobs (state, ended_at_ns, accepted_at_ns, queue) WHERE ended_at_ns IS NOT NULL;

-- When the latest of the jobs ended that were removed for their age: of what was before, not all is known.
ALTER TABLE counts ADD COLUMN removed_until_ns INTEGER;
-- The oldest go first.
UPDATE counts SET removed_until_ns = COALESCE(
    (SELECT MIN(ended_at_ns) FROM jobs WHERE jobs.state = counts.state AND ended_at_ns IS NOT NULL),
    CAST(strftime('%s', 'now') AS INTEGER) * 1000000000
) WHERE removed > 0;
