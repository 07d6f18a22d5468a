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
