-- What was done to a result, and where it is, as JSON; nothing where it is plain and in `result` itself.
ALTER TABLE events ADD COLUMN result_form TEXT;
