-- What every shard carries, the home shard too. Run in one transaction; every statement may be run again.

CREATE SCHEMA IF NOT EXISTS shardgate;
GRANT USAGE ON SCHEMA shardgate TO PUBLIC;

-- One row: who this shard is. What a shard owns is also written in the guards of its tables; shards win.
CREATE TABLE IF NOT EXISTS shardgate.identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster_id uuid NOT NULL,
    shard_id smallint NOT NULL,
    shard_name text NOT NULL,
    -- The newest epoch in which something of this shard changed.
    epoch bigint NOT NULL,
    epoch_id uuid NOT NULL
);

-- The default of a column whose values are drawn from a sequence of the home shard.
CREATE OR REPLACE FUNCTION shardgate.drawn_on_home(sample anyelement) RETURNS anyelement
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'this column''s default is drawn from a sequence on the home shard'
        USING ERRCODE = '0A000', HINT = 'Give the column a value in the statement.';
END
$$;
REVOKE ALL ON FUNCTION shardgate.drawn_on_home(anyelement) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardgate.drawn_on_home(anyelement) TO PUBLIC;
