"""A client of the soak that speaks through psycopg 3: argument 1 is the router's URL, argument 2 the seconds between two
steps. The first line of standard input is its number and its rows; the end of standard input tells it to stop.

It says on standard output what it is about to write, before it sends it, and what came of it: the ledger is kept by who
reads that. One JSON document a line.
"""

import json
import random
import sys
import threading
import time

import psycopg

URL, PACE = sys.argv[1], float(sys.argv[2])
start = json.loads(sys.stdin.readline())
CLIENT, rows, value = start["client"], {int(k): v for k, v in start["rows"].items()}, start["value"]
dice = random.Random(start["seed"])
# Keys of which nobody knows what became of their last write. They are not used again until somebody has looked.
unknown = []
stopping = threading.Event()


def wait_for_stop():
    sys.stdin.read()
    stopping.set()


threading.Thread(target=wait_for_stop, daemon=True).start()


def say(**what):
    print(json.dumps(what), flush=True)


def wrong(text):
    say(wrong=text)


LONG = "repeat(md5(%(b)s::int4::text), 160)"
INSERT = f"INSERT INTO parent (k, client, n, b, big) VALUES (%(k)s, %(c)s, %(n)s, %(b)s, {LONG})"
READ = "SELECT n, b, big IS NOT DISTINCT FROM repeat(md5(b::text), 160) FROM parent WHERE k = %s"


class Unknown(Exception):
    """The connection was lost when the write was on its way."""


def update(connection, k, n):
    count = connection.execute("UPDATE parent SET n = %s WHERE k = %s", (n, k)).rowcount
    if count != 1:
        wrong(f"{count} rows updated of {k}")


def read(connection, k, how="", prepare=None):
    found = connection.execute(READ + how, (k,), prepare=prepare).fetchall()
    expected = [tuple(rows[k]) + (True,)] if rows.get(k) else []
    if found != expected:
        wrong(f"{k} reads {found}, not {expected}")


def commit(connection):
    try:
        connection.commit()
    except psycopg.Error as error:
        raise Unknown() from error


def alone(connection, sql, values):
    """A statement without a block."""
    try:
        return connection.execute(sql, values).rowcount
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate[:2] in ("08", "57"):
            raise Unknown() from error
        raise


def gather(connection):
    """Over all shards: its own rows, but those of which nobody knows."""
    sql = "SELECT count(*), coalesce(sum(n), 0)::int8 FROM parent WHERE client = %s AND NOT (k = ANY(%s))"
    found = connection.execute(sql, (CLIENT, unknown)).fetchone()
    there = [row for row in rows.values() if row]
    expected = (len(there), sum(row[0] for row in there))
    if found != expected:
        wrong(f"{found} is counted, not {expected}")


def step(connection, k):
    """Does one thing with the row of that key."""
    global value
    value += 1
    n, b = value, dice.randrange(1000)
    row = rows.get(k)
    kind = dice.randrange(10)
    if kind == 0:
        connection.autocommit = True
        if dice.randrange(10) == 0:
            gather(connection)
        return None
    if kind < 3:
        connection.autocommit = True
        read(connection, k)
        return None
    after = [n, row[1] if row else b]
    if kind == 3 and row:
        after = None
    say(attempt=k, after=after)
    if kind == 3 and row:
        connection.autocommit = True
        count = alone(connection, "DELETE FROM parent WHERE k = %s", (k,))
    elif kind < 6 or not row:
        connection.autocommit = True
        upsert = INSERT + " ON CONFLICT (k) DO UPDATE SET n = excluded.n"
        count = alone(connection, upsert, {"k": k, "c": CLIENT, "n": n, "b": b})
    else:
        connection.autocommit = False
        if kind == 6:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            # Preparing it would tie the transaction to any shard, before its key is known.
            read(connection, k, prepare=False)
        else:
            read(connection, k, " FOR UPDATE")
        update(connection, k, n)
        commit(connection)
        count = 1
    if count != 1:
        wrong(f"{count} rows of {k} were written")
    rows[k] = after
    say(done=k)
    return None


def ready(connection):
    """Between two steps: no block, and the usual level."""
    connection.rollback()
    connection.autocommit = True
    connection.isolation_level = None


connection = None
while not stopping.is_set():
    time.sleep(PACE)
    if connection is None:
        say(begin="connect")
        try:
            connection = psycopg.connect(URL, autocommit=True, connect_timeout=90, prepare_threshold=2)
        except psycopg.Error as error:
            say(failed="connect", code=error.sqlstate, text=str(error))
            time.sleep(0.1)
            continue
    if not rows:
        break
    k = dice.choice(list(rows))
    say(begin=k)
    try:
        step(connection, k)
        ready(connection)
    except (psycopg.Error, Unknown) as error:
        cause = error.__cause__ if isinstance(error, Unknown) else error
        repeatable = connection.isolation_level == psycopg.IsolationLevel.REPEATABLE_READ
        maybe = isinstance(error, Unknown)
        block = not connection.autocommit
        say(failed=k, code=cause.sqlstate, text=str(cause), maybe=maybe, repeatable=repeatable, block=block)
        if isinstance(error, Unknown):
            del rows[k]
            unknown.append(k)
        if connection.broken or connection.closed:
            connection = None
        else:
            try:
                ready(connection)
            except psycopg.Error as error:
                say(failed="connect", code=error.sqlstate, text=str(error))
                connection = None
say(end=True, value=value)
