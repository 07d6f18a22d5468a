//! What one statement says, as plain data: the only form in which SQL leaves this crate.
//!
//! Names are as Postgres folds them: unquoted names in lower case, cut to 63 bytes. Nothing here is resolved; which
//! relation or column a name means is decided by `plan`, which has the catalog snapshot. Whatever the analysis does not
//! understand is said to be so (`Opaque`, `Unparsed`), with every name that it mentions, and is never left out.

use std::ops::Range;

/// A possibly qualified name of a relation, function or type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

/// One statement, analysed alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub statement: Statement,
    /// The highest `$n` in the text, 0 if there is none.
    pub params: u16,
    /// `/* shardgate: shard=s2 role=primary */` at the start of the statement.
    pub hint: Option<Hint>,
    /// Every identifier token in the text, folded, without duplicates: the net under the syntax tree (rule R6).
    /// It also has the words inside of nothing else but identifiers: not those in strings or comments.
    pub identifiers: Vec<String>,
    /// No quoted string stands in the text, so no setting can change what its literals mean.
    pub literal_free: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hint {
    pub shard: Option<String>,
    pub role: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Only blanks and comments: Postgres answers EmptyQueryResponse.
    Empty,
    /// SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE, with or without WITH.
    Query(Box<Query>),
    /// EXPLAIN of a statement. `route` is ours: `EXPLAIN (ROUTE) ..`; then `inner_text` is what is to be explained.
    Explain {
        analyze: bool,
        route: bool,
        inner: Box<Facts>,
        inner_text: Range<usize>,
    },
    /// Transaction control, session settings, cursors: statements whose meaning is the session's.
    Command(Command),
    /// DDL and maintenance, from the closed table of leading keywords.
    Utility(Utility),
    /// Not understood, or not to be trusted to the parser (rules R3, R4). It is routed by its leading keywords alone.
    Unparsed { keywords: String, reason: String },
}

/// A query with its WITH list. The whole of a SELECT, VALUES, INSERT, UPDATE or DELETE.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub recursive: bool,
    pub ctes: Vec<Cte>,
    pub body: Body,
    pub order_by: Vec<Expr>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    /// FETCH FIRST .. WITH TIES.
    pub with_ties: bool,
    /// FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE.
    pub locking: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cte {
    pub name: String,
    pub columns: Vec<String>,
    pub query: Query,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Select(Box<Select>),
    Values(Vec<Vec<Expr>>),
    SetOperation {
        kind: SetOperation,
        all: bool,
        left: Box<Query>,
        right: Box<Query>,
    },
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    /// A part that the analysis does not model (MERGE, ..): all its relations and functions are listed.
    Opaque(Opaque),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperation {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub distinct: Distinct,
    pub items: Vec<Item>,
    /// SELECT .. INTO target.
    pub into: Option<Name>,
    /// The FROM list: its entries are joined by a comma (an inner join without a condition).
    pub from: Vec<FromItem>,
    pub filter: Option<Expr>,
    pub group_by: GroupBy,
    pub having: Option<Expr>,
    /// Expressions of named windows.
    pub windows: Vec<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Distinct {
    No,
    All,
    On(Vec<Expr>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum GroupBy {
    /// No GROUP BY clause (the select may still aggregate).
    None,
    Exprs(Vec<Expr>),
    /// ROLLUP, CUBE, GROUPING SETS, GROUP BY ALL: listed, not modelled.
    Sets(Vec<Expr>),
}

/// One item of a target list or of RETURNING.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Expr {
        expr: Expr,
        alias: Option<String>,
    },
    /// `*`
    Star,
    /// `t.*` or `s.t.*`
    QualifiedStar(Name),
}

#[derive(Clone, Debug, PartialEq)]
pub enum FromItem {
    Relation(Relation),
    /// A subquery in FROM; `lateral` as written.
    Derived {
        query: Box<Query>,
        alias: Option<Alias>,
        lateral: bool,
    },
    /// A function in FROM (implicitly lateral). ROWS FROM has several calls.
    Function {
        calls: Vec<Expr>,
        alias: Option<Alias>,
    },
    Join(Box<Join>),
    Opaque(Opaque),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    pub name: Name,
    pub alias: Option<Alias>,
    /// FROM ONLY.
    pub only: bool,
    /// TABLESAMPLE.
    pub sample: bool,
    /// Byte range of the (qualified) name in the statement text, if known exactly.
    pub span: Option<Range<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub columns: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    pub left: FromItem,
    pub right: FromItem,
    pub kind: JoinKind,
    pub condition: JoinCondition,
    /// An alias of the joined table itself: `(a JOIN b ON ..) AS j`. It hides the inner names.
    pub alias: Option<Alias>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Cross,
}

#[derive(Clone, Debug, PartialEq)]
pub enum JoinCondition {
    None,
    On(Expr),
    Using(Vec<String>),
    Natural,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    pub target: Relation,
    /// Empty when no column list was written.
    pub columns: Vec<String>,
    pub source: InsertSource,
    /// OVERRIDING SYSTEM VALUE / USER VALUE.
    pub overriding: bool,
    pub on_conflict: Option<OnConflict>,
    pub returning: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum InsertSource {
    DefaultValues,
    /// VALUES rows; `Expr::Default` is the keyword DEFAULT.
    Values(Vec<Vec<Expr>>),
    Query(Box<Query>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// Empty: no target was written. Expressions, constraint names: see `other_target`.
    pub columns: Vec<String>,
    /// ON CONFLICT ON CONSTRAINT x, expressions, WHERE: a target that is not a plain list of columns.
    pub other_target: bool,
    /// None: DO NOTHING.
    pub update: Option<(Vec<Assignment>, Option<Expr>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// One column, or several for `(a, b) = ..`. A subscripted or composite target names its column.
    pub columns: Vec<String>,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub target: Relation,
    pub assignments: Vec<Assignment>,
    pub from: Vec<FromItem>,
    pub filter: Option<Expr>,
    pub returning: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub target: Relation,
    pub using: Vec<FromItem>,
    pub filter: Option<Expr>,
    pub returning: Vec<Item>,
}

/// A piece of SQL whose structure is not modelled. Everything that it can reach is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// What it is, for the refusal's message: "MERGE", "XMLTABLE".
    pub what: String,
    pub relations: Vec<Name>,
    pub subqueries: Vec<Query>,
    pub children: Vec<Expr>,
}

/// A scalar expression, reduced to what proofs need. Everything below an expression is kept: subqueries and function
/// calls are never dropped.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `c`, `t.c`, `s.t.c`
    Column {
        schema: Option<String>,
        table: Option<String>,
        column: String,
    },
    Literal(Literal),
    /// `$n`, from 1.
    Param(u16),
    /// DEFAULT in VALUES or SET.
    Default,
    /// `e::type`, `CAST(e AS type)`, `type 'literal'`.
    Cast {
        expr: Box<Expr>,
        ty: TypeName,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// Any binary operator. `schema` for `OPERATOR(schema.op)`.
    Binary {
        op: String,
        schema: Option<String>,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// A prefix operator other than NOT. A minus before a number literal is folded into the literal.
    Unary {
        op: String,
        expr: Box<Expr>,
    },
    /// `e IS [NOT] NULL`
    IsNull {
        expr: Box<Expr>,
        negated: bool,
    },
    /// `a IS [NOT] DISTINCT FROM b`
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    /// `e IN (list)`
    InList {
        expr: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    /// `e IN (SELECT ..)`
    InSubquery {
        expr: Box<Expr>,
        query: Box<Query>,
        negated: bool,
    },
    /// `e op ANY (array)`, `e op ALL (array)`, also with a subquery.
    Quantified {
        op: String,
        schema: Option<String>,
        all: bool,
        left: Box<Expr>,
        right: Quantifier,
    },
    Between {
        expr: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
        symmetric: bool,
    },
    Exists {
        query: Box<Query>,
        negated: bool,
    },
    /// `(SELECT ..)` as a value, also `ARRAY(SELECT ..)`.
    Subquery(Box<Query>),
    /// `(a, b)`, `ROW(a, b)`
    Row(Vec<Expr>),
    /// `ARRAY[..]`
    Array(Vec<Expr>),
    Collate {
        expr: Box<Expr>,
        collation: Name,
    },
    Function(Box<Function>),
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// Anything else that is plain syntax over its children (COALESCE, EXTRACT, subscripts, `IS TRUE`, LIKE, ..).
    /// `what` names it in lower case. The children are complete. Syntax that calls a function which a user can
    /// replace is a `Function` instead.
    Other {
        what: &'static str,
        children: Vec<Expr>,
    },
    /// Not modelled. A statement with such an expression cannot be proven to be read-only or bound.
    Opaque(Box<Opaque>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Quantifier {
    Array(Box<Expr>),
    Subquery(Box<Query>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub name: Name,
    pub args: Vec<Expr>,
    /// Names of arguments given as `name => value`, one entry for each of `args`; empty if none is named.
    pub arg_names: Vec<Option<String>>,
    /// FILTER, WITHIN GROUP, ORDER BY inside of the call: expressions that it also reads.
    pub extra: Vec<Expr>,
    pub distinct: bool,
    /// OVER: the window's expressions, Some(empty) for `OVER ()` or a named window.
    pub over: Option<Vec<Expr>>,
    pub star: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    Null,
    Bool(bool),
    /// An undecorated number, as written, with a folded minus: `42`, `-1`, `1.5`, `1e3`.
    Number(String),
    /// A string constant, unescaped: `'a''b'`, `E'\n'`, `$$x$$`. Its type is unknown until it is cast.
    String(String),
    /// B'..', X'..' and anything else that is not modelled.
    Other(String),
}

/// A type as written. Types that SQL spells specially have their pg_catalog name: `integer` is `int4`,
/// `character varying` is `varchar`, `timestamp with time zone` is `timestamptz`, `char(n)` is `bpchar`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeName {
    pub name: Name,
    /// `(n)`, `(p,s)`; absent when none was written.
    pub modifiers: Vec<i64>,
    pub array: bool,
}

/// Statements that the session carries out itself or tracks.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// BEGIN / START TRANSACTION, with modes that were all understood.
    Begin(TransactionModes),
    /// COMMIT / END.
    Commit {
        chain: bool,
    },
    /// ROLLBACK / ABORT.
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    ReleaseSavepoint(String),
    RollbackTo(String),
    /// SET [SESSION|LOCAL] name = value. `value` is the text of the value list as written; None: DEFAULT.
    /// `SET TIME ZONE x` has the name `timezone`, `SET NAMES x` is `client_encoding`, `SET ROLE x` is `role`,
    /// `SET SESSION AUTHORIZATION x` is `session_authorization`, `SET SCHEMA 'x'` is `search_path`.
    Set {
        local: bool,
        name: String,
        value: Option<SetValue>,
    },
    /// SET TRANSACTION modes; SET SESSION CHARACTERISTICS AS TRANSACTION modes.
    SetTransaction {
        session: bool,
        modes: TransactionModes,
    },
    Reset(String),
    ResetAll,
    Show(String),
    ShowAll,
    DiscardAll,
    /// DISCARD PLANS, SEQUENCES, TEMP.
    Discard(String),
    Prepare {
        name: String,
        body: Box<Facts>,
        body_text: Range<usize>,
    },
    Execute {
        name: String,
        args: Vec<Expr>,
    },
    /// None: DEALLOCATE ALL.
    Deallocate(Option<String>),
    Declare {
        name: String,
        hold: bool,
        query: Box<Facts>,
        query_text: Range<usize>,
    },
    /// FETCH and MOVE.
    Fetch {
        cursor: String,
    },
    /// None: CLOSE ALL.
    Close(Option<String>),
    Listen(String),
    /// None: UNLISTEN *.
    Unlisten(Option<String>),
    Notify(String),
    SetConstraints,
    PrepareTransaction(String),
    CommitPrepared(String),
    RollbackPrepared(String),
    Copy(Copy),
    /// LOCK TABLE.
    Lock(Vec<Name>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetValue {
    /// The items of the list, unquoted: `SET search_path = a, "B"` has `a` and `B`.
    pub items: Vec<String>,
    /// Byte range of the value list in the statement text.
    pub text: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TransactionModes {
    pub isolation: Option<Isolation>,
    /// Some(true): READ ONLY, Some(false): READ WRITE.
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
    /// SET TRANSACTION SNAPSHOT.
    pub snapshot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// COPY table; None: COPY (query).
    pub relation: Option<Name>,
    pub query: Option<Box<Query>>,
    pub columns: Vec<String>,
    pub from: bool,
    /// FROM STDIN / TO STDOUT; else a file or program of the server.
    pub client: bool,
}

/// DDL, maintenance and other statements that are routed by the closed table (rule A16).
#[derive(Clone, Debug, PartialEq)]
pub struct Utility {
    /// The leading keywords that chose the entry, in upper case: `CREATE TABLE`, `ALTER INDEX`, `VACUUM`.
    pub tag: &'static str,
    pub scope: Scope,
    /// The relations (tables, views, indexes, sequences) that it creates, changes or drops, in the order written.
    pub targets: Vec<Name>,
    /// Other relations that it names: references of foreign keys, bodies of views, `LIKE` sources.
    pub others: Vec<Name>,
    /// CREATE TEMP ..
    pub temporary: bool,
    /// Cannot run in a transaction block: VACUUM, CREATE INDEX CONCURRENTLY, CREATE DATABASE, ..
    pub no_transaction: bool,
    /// The query of CREATE VIEW, CREATE TABLE AS, CREATE MATERIALIZED VIEW.
    pub query: Option<Box<Query>>,
    /// ALTER TABLE .. RENAME COLUMN a, DROP COLUMN a, ALTER COLUMN a TYPE: columns that change their meaning.
    pub changed_columns: Vec<String>,
    /// ALTER TABLE, CREATE DOMAIN, ALTER DOMAIN: the values that it stores, or has stored later.
    pub stored: Vec<Stored>,
}

/// A value that DDL computes for rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Empty for a domain.
    pub column: String,
    /// The type that stands there, if it was understood.
    pub ty: Option<TypeName>,
    pub value: StoredValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StoredValue {
    /// ADD COLUMN .. DEFAULT: computed now, for every row that is there.
    Added(Box<Expr>),
    /// SET DEFAULT: computed for rows to come.
    Default(Box<Expr>),
    /// ALTER COLUMN .. TYPE, and its USING: computed now, from the row.
    Retyped(Option<Box<Expr>>),
    /// Numbers of a sequence: serial, identity.
    Drawn,
    /// There is an expression, and it is not understood.
    Unread,
}

/// Where a utility statement belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Where its target relations are: a distributed or reference table on all shards, any other on home.
    Targets,
    /// On home only.
    Home,
    /// On every shard: roles, types, schemas, extensions, functions.
    AllShards,
    /// It runs code that nobody can see through (DO, CALL).
    Opaque,
    /// Never through the router; the reason is the message.
    Refuse(&'static str),
}
