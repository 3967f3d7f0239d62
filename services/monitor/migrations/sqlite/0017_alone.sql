-- Whether an attempt had no neighbour in its process. What was stored before does not say so.
ALTER TABLE events ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
