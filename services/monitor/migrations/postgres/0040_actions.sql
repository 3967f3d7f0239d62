-- What people and programs did by the HTTP API and the pages.
CREATE TABLE actions (
    -- A UUIDv7 as text: in the order of asking.
    id     TEXT   COLLATE "C" PRIMARY KEY,
    at_ns  BIGINT NOT NULL,
    who    TEXT   NOT NULL,
    role   TEXT   NOT NULL,
    action TEXT   NOT NULL,
    -- To what: a JSON object of the parameters.
    target TEXT   NOT NULL,
    reason TEXT   NOT NULL,
    -- How many were meant; null where that is not known.
    count  BIGINT,
    -- `asked` until it is known.
    result TEXT   NOT NULL
);
