use std::time::Instant;
fn main() {
    if let (Ok(kb), Ok(sql)) = (std::env::var("KB"), std::env::var("SQL")) {
        std::thread::Builder::new().stack_size(kb.parse::<usize>().unwrap() * 1024).spawn(move || { shardgate_sql::analyze(&sql); }).unwrap().join().unwrap(); return;
    }
    for sql in ["SELECT c FROM sbtest1 WHERE id=$1", "SELECT \"users\".* FROM \"users\" WHERE \"users\".\"email\" = $1 AND \"users\".\"active\" = TRUE ORDER BY \"users\".\"id\" ASC LIMIT $2", "INSERT INTO t (a,b,c,d,e) VALUES ($1,$2,$3,$4,$5) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING id", "BEGIN", "SET statement_timeout = 0"] {
        let n = 20000; let t = Instant::now();
        for _ in 0..n { std::hint::black_box(shardgate_sql::analyze(sql)); }
        let a = t.elapsed() / n; let t = Instant::now();
        for _ in 0..n { std::hint::black_box(shardgate_sql::lexer::lex(sql).ok()); }
        println!("{a:?} lex {:?} {sql}", t.elapsed() / n);
    }
    for kb in [256usize, 384, 512, 768] {
        let sql = format!("{}select 1{}", "select * from (".repeat(22), ") x".repeat(22));
        let r = std::process::Command::new(std::env::current_exe().unwrap()).env("KB", kb.to_string()).env("SQL", sql).output();
        if std::env::var("KB").is_err() { println!("{kb} {:?}", r.map(|r| r.status)); }
    }
}
