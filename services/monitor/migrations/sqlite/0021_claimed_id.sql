-- The id that a rejected message bears: whoever looks for it is told of the rejection.
ALTER TABLE events ADD COLUMN claimed_id TEXT;
CREATE INDEX events_by_claimed_id ON events (claimed_id) WHERE claimed_id IS NOT NULL;

-- A job that snoozed has run: it is `retrying`, as those that failed.
UPDATE jobs SET state = 'retrying' WHERE state = 'scheduled' AND attempt_count > 0;
