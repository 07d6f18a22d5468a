-- The catalog of Shardgate on the home shard. Run in one transaction; every statement may be run again.
-- Nothing is granted to PUBLIC but USAGE on the schema and EXECUTE on the functions that say so.

CREATE SCHEMA IF NOT EXISTS shardgate;
COMMENT ON SCHEMA shardgate IS 'Catalog of Shardgate. Change it with shard-admin or through the router, not by hand.';
GRANT USAGE ON SCHEMA shardgate TO PUBLIC;

-- One row: which cluster this is.
CREATE TABLE IF NOT EXISTS shardgate.cluster (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL,
    version integer NOT NULL,
    -- Keys the salts that unknown users are shown, so that they cannot be told from known ones.
    mock_auth_secret bytea NOT NULL,
    home_shard smallint NOT NULL,
    -- Ids are never used twice.
    next_shard smallint NOT NULL,
    next_distribution integer NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- The versions of the catalog: a number for people, ids that tell two histories with equal numbers apart.
CREATE TABLE IF NOT EXISTS shardgate.epoch (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    parent uuid NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by text NOT NULL DEFAULT session_user,
    note text NOT NULL,
    -- The schema's fingerprint when the epoch was made: a router that sees another one makes the next epoch.
    fingerprint text NOT NULL
);

CREATE TABLE IF NOT EXISTS shardgate.shard (
    id smallint PRIMARY KEY CHECK (id > 0),
    name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9_.-]{1,63}$'),
    weight integer NOT NULL DEFAULT 100 CHECK (weight BETWEEN 0 AND 1000000),
    -- NULL: the database has the same name as on the home shard.
    dbname text,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- What a replica must have replayed before it may answer reads of distributed tables: where the primary was when keys
-- last came to the shard.
ALTER TABLE shardgate.shard ADD COLUMN IF NOT EXISTS floor_timeline bigint;
ALTER TABLE shardgate.shard ADD COLUMN IF NOT EXISTS floor_lsn pg_lsn;

CREATE TABLE IF NOT EXISTS shardgate.shard_host (
    shard_id smallint NOT NULL REFERENCES shardgate.shard ON DELETE CASCADE,
    host text NOT NULL,
    port integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    ordinal smallint NOT NULL,
    PRIMARY KEY (shard_id, host, port)
);

CREATE TABLE IF NOT EXISTS shardgate.distribution (
    id integer PRIMARY KEY CHECK (id > 0),
    name text NOT NULL UNIQUE,
    method text NOT NULL CHECK (method IN ('hash', 'range', 'list')),
    -- One name for all types that hash and order alike: int8 for int2 and int4, text for varchar.
    key_type text NOT NULL CHECK (key_type IN ('int8', 'text', 'uuid', 'bytea', 'date', 'timestamp', 'timestamptz')),
    buckets integer CHECK (buckets BETWEEN 1 AND 65536 AND (buckets & (buckets - 1)) = 0),
    -- New hash tables of this key type and number of buckets join it unless they say otherwise.
    by_default boolean NOT NULL DEFAULT false,
    -- It was made for one table and goes with the last one that belongs to it.
    for_table boolean NOT NULL DEFAULT false,
    -- List maps: where every other value lives; NULL: it is refused.
    default_shard smallint REFERENCES shardgate.shard,
    CHECK ((method = 'hash') = (buckets IS NOT NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS distribution_by_default
    ON shardgate.distribution (key_type, buckets) WHERE by_default;

CREATE TABLE IF NOT EXISTS shardgate.bucket_map (
    distribution_id integer NOT NULL REFERENCES shardgate.distribution ON DELETE CASCADE,
    bucket integer NOT NULL CHECK (bucket >= 0),
    shard_id smallint NOT NULL REFERENCES shardgate.shard,
    PRIMARY KEY (distribution_id, bucket)
);

-- The range from lower (inclusive; NULL: from the beginning) to the next one. Values are written as Postgres prints
-- them with DateStyle ISO, TimeZone UTC and bytea_output hex.
CREATE TABLE IF NOT EXISTS shardgate.range_map (
    distribution_id integer NOT NULL REFERENCES shardgate.distribution ON DELETE CASCADE,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    lower text,
    shard_id smallint NOT NULL REFERENCES shardgate.shard,
    PRIMARY KEY (distribution_id, ordinal),
    UNIQUE (distribution_id, lower),
    CHECK ((ordinal = 0) = (lower IS NULL))
);

CREATE TABLE IF NOT EXISTS shardgate.list_map (
    distribution_id integer NOT NULL REFERENCES shardgate.distribution ON DELETE CASCADE,
    value text NOT NULL,
    shard_id smallint NOT NULL REFERENCES shardgate.shard,
    PRIMARY KEY (distribution_id, value)
);

CREATE TABLE IF NOT EXISTS shardgate.pinned_key (
    distribution_id integer NOT NULL REFERENCES shardgate.distribution ON DELETE CASCADE,
    value text NOT NULL,
    shard_id smallint NOT NULL REFERENCES shardgate.shard,
    PRIMARY KEY (distribution_id, value)
);

-- Tables that are not home tables. Columns are kept by number, so that a renamed one is still the key.
CREATE TABLE IF NOT EXISTS shardgate.distributed_table (
    relation regclass PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('distributed', 'reference')),
    distribution_id integer REFERENCES shardgate.distribution,
    key_attnum smallint,
    made_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'distributed') = (distribution_id IS NOT NULL)),
    CHECK ((kind = 'distributed') = (key_attnum IS NOT NULL))
);

-- Views that were found to be the same on every shard, and the fingerprint that they had then.
CREATE TABLE IF NOT EXISTS shardgate.view_copy (
    view regclass PRIMARY KEY,
    fingerprint text NOT NULL
);

CREATE TABLE IF NOT EXISTS shardgate.router (
    id text PRIMARY KEY,
    name text NOT NULL,
    application_name text NOT NULL,
    -- The epoch that it works by.
    epoch bigint NOT NULL,
    epoch_id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat timestamptz NOT NULL DEFAULT now()
);
-- The newest epoch of which the router says: nothing is under way in it that was planned by an older one and concerns
-- keys of a move. If a move holds its keys back in that epoch, no transaction that touched them is open in it either.
ALTER TABLE shardgate.router ADD COLUMN IF NOT EXISTS drained bigint NOT NULL DEFAULT 0;

-- Moves of parts of a distribution from one shard to another, and those that have ended.
CREATE TABLE IF NOT EXISTS shardgate.move (
    id bigint PRIMARY KEY CHECK (id > 0),
    distribution_id integer NOT NULL REFERENCES shardgate.distribution ON DELETE CASCADE,
    source_shard smallint NOT NULL REFERENCES shardgate.shard,
    target_shard smallint NOT NULL REFERENCES shardgate.shard CHECK (target_shard <> source_shard),
    step text NOT NULL CHECK (step IN ('prepare', 'copy', 'catch_up', 'verified', 'hold', 'moved', 'switched', 'reversed',
        'completing', 'completed', 'cancelling', 'cancelled')),
    -- The switch under way, or the last one, goes from the target back to the source.
    reversing boolean NOT NULL DEFAULT false,
    -- After a switch: the stream back runs, and nothing is left of the one before it.
    settled boolean NOT NULL DEFAULT true,
    paused boolean NOT NULL DEFAULT false,
    -- The last failure, until the step succeeds.
    error text,
    -- The epoch in which the move last changed the map; 0: it has not yet.
    since bigint NOT NULL DEFAULT 0,
    -- The epoch in which the step began, if it needed one.
    step_epoch bigint NOT NULL DEFAULT 0,
    step_at timestamptz NOT NULL DEFAULT now(),
    -- One program at a time drives it. Each that takes it over counts up, so that shards refuse what an earlier one says.
    owner uuid,
    lease timestamptz,
    attempt bigint NOT NULL DEFAULT 0,
    -- Timelines of the shards when the move was prepared.
    source_timeline bigint NOT NULL DEFAULT 0,
    target_timeline bigint NOT NULL DEFAULT 0,
    -- How many streams copy and follow, each a part of the keys.
    streams smallint NOT NULL DEFAULT 2 CHECK (streams BETWEEN 1 AND 64),
    -- NULL: as fast as it goes.
    copy_bytes_per_s bigint CHECK (copy_bytes_per_s > 0),
    -- The copy waits while a standby of the target is further behind.
    replica_lag_bytes_max bigint NOT NULL CHECK (replica_lag_bytes_max > 0),
    -- The move stops with an error when a shard must keep more log for it.
    wal_bytes_max bigint NOT NULL CHECK (wal_bytes_max > 0),
    -- A switch that holds statements back for longer is undone.
    pause_ms_max integer NOT NULL CHECK (pause_ms_max > 0),
    -- A table without a key is moved only if it has no more rows than that: each change of one looks at all of them.
    keyless_rows_max bigint NOT NULL CHECK (keyless_rows_max >= 0),
    rows_total bigint NOT NULL DEFAULT 0,
    rows_copied bigint NOT NULL DEFAULT 0,
    bytes_total bigint NOT NULL DEFAULT 0,
    bytes_copied bigint NOT NULL DEFAULT 0,
    copy_ms bigint NOT NULL DEFAULT 0,
    -- How far the follower is behind, and how much log is kept for it.
    lag_bytes bigint NOT NULL DEFAULT 0,
    wal_bytes bigint NOT NULL DEFAULT 0,
    verified_at timestamptz,
    -- How long statements were held back by the last switch.
    pause_ms integer,
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by text NOT NULL DEFAULT session_user,
    ended_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS move_under_way
    ON shardgate.move (distribution_id) WHERE step NOT IN ('completed', 'cancelled');

-- What is moved. 'buckets': from lower to upper, both included; 'range': lower included, upper not, NULL: no bound;
-- 'value' and 'pin': lower; 'default': all values that the map does not name. Written as in the maps.
CREATE TABLE IF NOT EXISTS shardgate.move_part (
    move_id bigint NOT NULL REFERENCES shardgate.move ON DELETE CASCADE,
    ordinal integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('buckets', 'range', 'value', 'default', 'pin')),
    lower text,
    upper text,
    PRIMARY KEY (move_id, ordinal)
);

-- The tables of a move, and the replica identities that they had: d, f, n or i:INDEX.
CREATE TABLE IF NOT EXISTS shardgate.move_table (
    move_id bigint NOT NULL REFERENCES shardgate.move ON DELETE CASCADE,
    relation regclass NOT NULL,
    source_identity text NOT NULL,
    target_identity text NOT NULL,
    PRIMARY KEY (move_id, relation)
);

-- Which of the streams have copied their rows.
CREATE TABLE IF NOT EXISTS shardgate.move_stream (
    move_id bigint NOT NULL REFERENCES shardgate.move ON DELETE CASCADE,
    number smallint NOT NULL,
    copied boolean NOT NULL DEFAULT false,
    rows_copied bigint NOT NULL DEFAULT 0,
    bytes_copied bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (move_id, number)
);

-- The outcome of a transaction over several shards, under its gid without the participant's part. The row decides:
-- 'commit' is written by the transaction itself, 'aborted' by whoever resolves it in its absence.
CREATE TABLE IF NOT EXISTS shardgate.decision (
    gid text PRIMARY KEY CHECK (gid LIKE 'shardgate:%' AND octet_length(gid) <= 199),
    outcome text NOT NULL CHECK (outcome IN ('commit', 'aborted')),
    made_at timestamptz NOT NULL DEFAULT now()
);

-- What a function outside of pg_catalog does to the session that calls it, as its owner declares.
CREATE TABLE IF NOT EXISTS shardgate.function_class (
    function regprocedure PRIMARY KEY,
    class text NOT NULL CHECK (class IN ('pure', 'clean', 'opaque')),
    made_at timestamptz NOT NULL DEFAULT now()
);

-- The application's role may not write decisions at will: it may only decide for 'commit', once for each gid, and not
-- for changes of the schema, which only their own transaction decides.
CREATE OR REPLACE FUNCTION shardgate.decide(gid text) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF gid LIKE 'shardgate:ddl:%' THEN
        RAISE EXCEPTION 'permission denied to decide transaction "%"', gid USING ERRCODE = '42501';
    END IF;
    INSERT INTO shardgate.decision (gid, outcome) VALUES (decide.gid, 'commit');
END
$$;
REVOKE ALL ON FUNCTION shardgate.decide(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardgate.decide(text) TO PUBLIC;
