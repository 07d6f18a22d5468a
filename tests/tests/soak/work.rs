//! Carries out one plan on a connection, and looks at every answer at once: counts of rows, and what is read.

use crate::ledger::{Family, Key, Ledger, Row};
use crate::plan::{Plan, Step};
use shardgate_tests::Session;
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{SimpleQueryMessage, Statement};

/// Why something did not go as planned.
#[derive(Debug)]
pub enum Trouble {
    /// `maybe`: the writes may have happened all the same.
    Error {
        error: tokio_postgres::Error,
        maybe: bool,
    },
    /// An answer that cannot be.
    Wrong(String),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        Trouble::Error {
            error,
            maybe: false,
        }
    }
}

/// A statement alone: without an answer nobody knows whether it is done.
fn maybe(error: tokio_postgres::Error) -> Trouble {
    // Whatever a server says is said instead of the write, unless it speaks of a lost connection.
    let maybe = error
        .code()
        .is_none_or(|code| code.code().starts_with("08") || code.code().starts_with("57"));
    Trouble::Error { error, maybe }
}

type Done = Result<(), Trouble>;

/// A connection and the statements that are prepared on it.
#[derive(Debug)]
pub struct Hand {
    pub session: Session,
    client: i32,
    set_number: Statement,
    read_row: Statement,
    insert_child: Statement,
    insert_entry: Statement,
}

const READ: &str = "n, b, big IS NOT DISTINCT FROM repeat(md5(b::text), 160) FROM";

impl Hand {
    pub async fn open(url: &str, client: i32) -> anyhow::Result<Hand> {
        let session = Session::open(url).await?;
        let set_number = session
            .prepare("UPDATE parent SET n = $2 WHERE k = $1")
            .await?;
        let read_row = session
            .prepare(&format!("SELECT {READ} parent WHERE k = $1"))
            .await?;
        let insert_child = session
            .prepare(
                "INSERT INTO child (k, id, client, n) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (k, id) DO UPDATE SET n = excluded.n",
            )
            .await?;
        let insert_entry = session
            .prepare("INSERT INTO entry (k, client, n) VALUES ($1, $2, $3)")
            .await?;
        Ok(Hand {
            session,
            client,
            set_number,
            read_row,
            insert_child,
            insert_entry,
        })
    }

    /// Carries it out. The ledger is as before the plan.
    pub async fn run(&self, plan: &Plan, ledger: &Ledger) -> Done {
        match &plan.step {
            Step::Insert(row) => self.insert(&plan.key, *row, "").await,
            Step::Upsert(row) => {
                let conflict = match &plan.key {
                    Key::Number(_) => "ON CONFLICT (k) DO UPDATE SET n = excluded.n",
                    Key::Name(_) => "ON CONFLICT (name) DO UPDATE SET n = excluded.n",
                };
                self.insert(&plan.key, *row, conflict).await
            }
            Step::SetNumber(n, simple) => self.set_number(&plan.key, *n, *simple).await,
            Step::SetLong(row) => self.set_long(&plan.key, *row).await,
            Step::Delete => {
                let sql = match &plan.key {
                    Key::Number(_) => "DELETE FROM parent WHERE k = $1",
                    Key::Name(_) => "DELETE FROM named WHERE name = $1",
                };
                self.write(plan, sql, &[&plan.key], 1).await
            }
            Step::AddEntry(n) => {
                let values: [&(dyn ToSql + Sync); 3] = [&plan.key, &self.client, n];
                let count = self.session.execute(&self.insert_entry, &values).await;
                counted(plan, count.map_err(maybe)?, 1)
            }
            Step::ClearEntries => {
                let count = plan.before.entries.len();
                self.write(plan, "DELETE FROM entry WHERE k = $1", &[&plan.key], count)
                    .await
            }
            Step::Block { .. } => self.block(plan).await,
            Step::Repeatable { n, wait_ms } => self.repeatable(plan, *n, *wait_ms).await,
            Step::Read => self.read(plan).await,
            Step::Gather(_) => self.gather(plan, ledger).await,
            Step::ChangeKey(other) => {
                let sql = "UPDATE named SET name = $2 WHERE name = $1";
                self.write(plan, sql, &[&plan.key, other], 1).await
            }
            Step::Both(n, other) => self.both(plan, *n, other).await,
            Step::All(n) => {
                let sql = "UPDATE parent SET n = $2 WHERE client = $1";
                self.write(plan, sql, &[&self.client, n], plan.changes.len())
                    .await
            }
            Step::Many(rows) => self.many(plan, rows).await,
        }
    }

    async fn write(
        &self,
        plan: &Plan,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
        expected: usize,
    ) -> Done {
        let count = self.session.execute(sql, values).await.map_err(maybe)?;
        counted(plan, count, expected)
    }

    async fn insert(&self, key: &Key, row: Row, conflict: &str) -> Done {
        let (sql, ty) = match key {
            Key::Number(_) => ("INSERT INTO parent (k, client, n, b, big)", Type::INT8),
            Key::Name(_) => ("INSERT INTO named (name, client, n, b, big)", Type::TEXT),
        };
        let sql = format!("{sql} VALUES ($1, $2, $3, $4, repeat(md5($4::text), 160)) {conflict}");
        let types = [ty, Type::INT4, Type::INT8, Type::INT4];
        let statement = self
            .session
            .prepare_typed(&sql, &types)
            .await
            .map_err(maybe)?;
        let values: [&(dyn ToSql + Sync); 4] = [key, &self.client, &row.n, &row.b];
        let count = self.session.execute(&statement, &values).await;
        match count.map_err(maybe)? {
            1 => Ok(()),
            count => Err(Trouble::Wrong(format!("{count} rows inserted for {key}"))),
        }
    }

    async fn many(&self, plan: &Plan, rows: &[(Key, Row)]) -> Done {
        let values: Vec<String> = rows
            .iter()
            .map(|(key, Row { n, b })| {
                let b = b.map_or("NULL".to_owned(), |b| b.to_string());
                format!(
                    "({key}, {}, {n}, {b}, repeat(md5('{b}'), 160))",
                    self.client
                )
            })
            .collect();
        let values = values.join(", ");
        let sql = format!("INSERT INTO parent (k, client, n, b, big) VALUES {values}");
        self.write(plan, &sql, &[], rows.len()).await
    }

    async fn set_number(&self, key: &Key, n: i64, simple: bool) -> Done {
        let count = match key {
            Key::Number(k) if simple => {
                let sql = format!("UPDATE parent SET n = {n} WHERE k = {k} RETURNING n");
                let answer = self.session.simple_query(&sql).await.map_err(maybe)?;
                let rows = answer
                    .iter()
                    .filter(|message| matches!(message, SimpleQueryMessage::Row(_)));
                rows.count() as u64
            }
            Key::Number(_) => {
                let done = self.session.execute(&self.set_number, &[key, &n]).await;
                done.map_err(maybe)?
            }
            Key::Name(_) => {
                let sql = "UPDATE named SET n = $2 WHERE name = $1";
                self.session.execute(sql, &[key, &n]).await.map_err(maybe)?
            }
        };
        match count {
            1 => Ok(()),
            count => Err(Trouble::Wrong(format!("{count} rows updated of {key}"))),
        }
    }

    async fn set_long(&self, key: &Key, row: Row) -> Done {
        let (sql, ty) = match key {
            Key::Number(_) => ("UPDATE parent SET", "WHERE k = $1"),
            Key::Name(_) => ("UPDATE named SET", "WHERE name = $1"),
        };
        let sql = format!(
            "{sql} n = $2, b = $3, big = repeat(md5($3::int4::text), 160) {ty} RETURNING n"
        );
        let rows = self
            .session
            .query(&sql, &[key, &row.n, &row.b])
            .await
            .map_err(maybe)?;
        match rows.as_slice() {
            [one] if one.get::<_, i64>(0) == row.n => Ok(()),
            rows => Err(Trouble::Wrong(format!("RETURNING of {key}: {rows:?}"))),
        }
    }

    async fn block(&self, plan: &Plan) -> Done {
        let Step::Block {
            n,
            child: (id, child),
            entry,
            commit,
        } = &plan.step
        else {
            return Ok(());
        };
        self.session.batch_execute("BEGIN").await?;
        let sql = format!("SELECT {READ} parent WHERE k = $1 FOR UPDATE");
        let rows = self.session.query(&sql, &[&plan.key]).await?;
        same_row(plan, &rows, "FOR UPDATE")?;
        let count = self
            .session
            .execute(&self.set_number, &[&plan.key, n])
            .await?;
        counted(plan, count, 1)?;
        let values: [&(dyn ToSql + Sync); 4] = [&plan.key, id, &self.client, child];
        self.session.execute(&self.insert_child, &values).await?;
        let values: [&(dyn ToSql + Sync); 3] = [&plan.key, &self.client, entry];
        self.session.execute(&self.insert_entry, &values).await?;
        self.end(if *commit { "COMMIT" } else { "ROLLBACK" }).await
    }

    async fn end(&self, sql: &str) -> Done {
        self.session.batch_execute(sql).await.map_err(maybe)
    }

    async fn repeatable(&self, plan: &Plan, n: i64, wait_ms: u64) -> Done {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
        self.session.batch_execute(begin).await?;
        for wait in [wait_ms, 0] {
            let rows = self.session.query(&self.read_row, &[&plan.key]).await?;
            same_row(plan, &rows, "REPEATABLE READ")?;
            // The application thinks.
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let count = self
            .session
            .execute(&self.set_number, &[&plan.key, &n])
            .await?;
        counted(plan, count, 1)?;
        self.end("COMMIT").await
    }

    async fn both(&self, plan: &Plan, n: i64, other: &Key) -> Done {
        self.session.batch_execute("BEGIN").await?;
        for key in [&plan.key, other] {
            let count = self.session.execute(&self.set_number, &[key, &n]).await?;
            counted(plan, count, 1)?;
        }
        self.end("COMMIT").await
    }

    async fn read(&self, plan: &Plan) -> Done {
        match &plan.key {
            Key::Name(_) => {
                let sql = format!("SELECT {READ} named WHERE name = $1");
                let rows = self.session.query(&sql, &[&plan.key]).await?;
                same_row(plan, &rows, "a read")
            }
            Key::Number(_) => {
                let rows = self.session.query(&self.read_row, &[&plan.key]).await?;
                same_row(plan, &rows, "a read")?;
                self.read_family(plan).await
            }
        }
    }

    async fn read_family(&self, plan: &Plan) -> Done {
        let mut found = Family {
            row: plan.before.row,
            ..Family::default()
        };
        let sql = "SELECT id, n FROM child WHERE k = $1";
        for row in self.session.query(sql, &[&plan.key]).await? {
            found.children.insert(row.get(0), row.get(1));
        }
        let sql = "SELECT n FROM entry WHERE k = $1 ORDER BY n";
        for row in self.session.query(sql, &[&plan.key]).await? {
            found.entries.push(row.get(0));
        }
        if found == plan.before {
            return Ok(());
        }
        let text = format!("{} reads {found:?}, not {:?}", plan.key, plan.before);
        Err(Trouble::Wrong(text))
    }

    /// Counts the client's own rows over all shards. Of keys whose rows are not known it says nothing.
    async fn gather(&self, plan: &Plan, ledger: &Ledger) -> Done {
        let Step::Gather(counted) = plan.step else {
            return Ok(());
        };
        let (table, key) = (counted.table(), counted.key());
        let frozen = ledger.frozen();
        let (mut numbers, mut names) = (Vec::new(), Vec::new());
        for key in &frozen {
            match key {
                Key::Number(number) => numbers.push(*number),
                Key::Name(name) => names.push(name.as_str()),
            }
        }
        let sql = format!(
            "SELECT count(*), coalesce(sum(n), 0)::int8 FROM {table} WHERE client = $1 AND NOT ({key} = ANY ($2))"
        );
        let values: &(dyn ToSql + Sync) = if key == "k" { &numbers } else { &names };
        let row = self
            .session
            .query_one(&sql, &[&self.client, values])
            .await?;
        let found: (i64, i64) = (row.get(0), row.get(1));
        let free = ledger
            .families()
            .iter()
            .filter(|(key, _)| !frozen.contains(key));
        let expected = totals(counted, free);
        if found == expected {
            return Ok(());
        }
        Err(Trouble::Wrong(format!(
            "client {} counts {found:?} in {table}, not {expected:?}",
            self.client
        )))
    }
}

/// The number of rows and the sum of their numbers.
fn totals<'a>(
    counted: crate::plan::Counted,
    families: impl Iterator<Item = (&'a Key, &'a Family)>,
) -> (i64, i64) {
    use crate::plan::Counted;
    let mut numbers: Vec<i64> = Vec::new();
    for (key, family) in families {
        let row = family.row.map(|row| row.n);
        match (counted, key) {
            (Counted::Parent, Key::Number(_)) | (Counted::Named, Key::Name(_)) => {
                numbers.extend(row)
            }
            (Counted::Child, _) => numbers.extend(family.children.values()),
            (Counted::Entry, _) => numbers.extend(&family.entries),
            (Counted::Parent, Key::Name(_)) | (Counted::Named, Key::Number(_)) => {}
        }
    }
    (
        i64::try_from(numbers.len()).unwrap_or(i64::MAX),
        numbers.iter().sum(),
    )
}

fn counted(plan: &Plan, count: u64, expected: usize) -> Done {
    if usize::try_from(count) == Ok(expected) {
        return Ok(());
    }
    let text = format!("{plan:?} concerned {count} rows, not {expected}");
    Err(Trouble::Wrong(text))
}

fn same_row(plan: &Plan, rows: &[tokio_postgres::Row], how: &str) -> Done {
    let found: Vec<(Row, bool)> = rows
        .iter()
        .map(|row| {
            let (n, b) = (row.get(0), row.get(1));
            (Row { n, b }, row.get(2))
        })
        .collect();
    let expected: Vec<(Row, bool)> = plan.before.row.map(|row| (row, true)).into_iter().collect();
    if found == expected {
        return Ok(());
    }
    let text = format!("{how} of {} gives {found:?}, not {expected:?}", plan.key);
    Err(Trouble::Wrong(text))
}

impl ToSql for Key {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Key::Number(number) => number.to_sql(ty, out),
            Key::Name(name) => name.as_str().to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as ToSql>::accepts(ty) || <&str as ToSql>::accepts(ty)
    }

    tokio_postgres::types::to_sql_checked!();
}
