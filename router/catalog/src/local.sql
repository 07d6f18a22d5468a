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

-- A router whose snapshot is older than this epoch must not use a connection to this shard before it has a newer one.
ALTER TABLE shardgate.identity ADD COLUMN IF NOT EXISTS fence bigint NOT NULL DEFAULT 0;

-- Moves that bring rows to this shard or take rows away: whether the rows may be written here.
CREATE TABLE IF NOT EXISTS shardgate.gate (
    move_id bigint PRIMARY KEY,
    open boolean NOT NULL,
    -- The shard that has the rows when the gate is closed.
    other_shard text NOT NULL,
    -- Who last said so: see shardgate.move.attempt.
    attempt bigint NOT NULL DEFAULT 0
);

-- What comes through the streams of a move after everything that was written before it.
CREATE TABLE IF NOT EXISTS shardgate.move_mark (
    stream text PRIMARY KEY,
    mark bigint NOT NULL
);

-- BEFORE triggers of a move: waits while the gate is being closed, and refuses once it is. The argument is the move's id.
-- Whoever closes the gate holds the lock alone, so nobody who has passed here is still uncommitted then.
CREATE OR REPLACE FUNCTION shardgate.gate_check() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    move bigint := TG_ARGV[0];
    gate shardgate.gate;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1397178708, (move % 2147483647)::integer);
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT * INTO gate FROM shardgate.gate WHERE move_id = move;
    ELSE
        -- An old snapshot does not see that the gate was closed; a lock on the row does.
        SELECT * INTO gate FROM shardgate.gate WHERE move_id = move FOR SHARE;
    END IF;
    IF gate.move_id IS NULL THEN
        RAISE EXCEPTION 'could not serialize access due to a move of rows of table "%"', TG_TABLE_NAME
            USING ERRCODE = '40001', HINT = 'Run the transaction again.';
    END IF;
    IF NOT gate.open THEN
        RAISE EXCEPTION 'the row of table "%" belongs to another shard', TG_TABLE_NAME
            USING ERRCODE = '55006', DETAIL = format('Move %s: the row is on shard "%s".', move, gate.other_shard),
                  HINT = 'Run the transaction again.', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA,
                  CONSTRAINT = '~shardgate_gate';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION shardgate.gate_check() FROM PUBLIC;

-- What a move cannot follow: TRUNCATE, and changes of keys of tables whose old rows are not known in whole.
CREATE OR REPLACE FUNCTION shardgate.gate_refuse() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'cannot % table "%" while a part of it is moved to another shard',
            CASE TG_OP WHEN 'TRUNCATE' THEN 'truncate' ELSE 'change the sharding key of a row of' END, TG_TABLE_NAME
        USING ERRCODE = '55006', DETAIL = format('Move %s is under way.', TG_ARGV[0]),
              HINT = CASE TG_OP WHEN 'TRUNCATE' THEN 'Delete the rows, or wait until the move is completed or cancelled.'
                                ELSE 'Delete the row and insert it with its new key.' END;
END
$$;
REVOKE ALL ON FUNCTION shardgate.gate_refuse() FROM PUBLIC;

-- What a router calls once on each new connection: the connection is known as this router's until it ends, and the answer
-- is the epoch that the router's snapshot must have reached. In that order, so whoever raises the fence first and then
-- looks for connections misses none. Call it in a READ COMMITTED transaction: an older snapshot shows an older fence.
CREATE OR REPLACE FUNCTION shardgate.enter(router text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    answer bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'shardgate.enter() must be called in a READ COMMITTED transaction' USING ERRCODE = '25001';
    END IF;
    PERFORM pg_advisory_lock_shared(1397178709, hashtext(router));
    SELECT fence INTO STRICT answer FROM shardgate.identity;
    RETURN answer;
END
$$;
REVOKE ALL ON FUNCTION shardgate.enter(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardgate.enter(text) TO PUBLIC;

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
