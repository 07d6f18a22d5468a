fn main() {
    let kind = std::env::args().nth(1).unwrap();
    let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let sql = match kind.as_str() {
        "or" => format!("select a {}", " or a".repeat(n)),
        "cast" => format!("select a {}", " ::int".repeat(n)),
        "union" => format!("select a {}", " union select a".repeat(n)),
        "between" => format!("select a {}", " between 1 and 2".repeat(n)),
        _ => panic!(),
    };
    let t = std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            let d = sqlparser::dialect::PostgreSqlDialect {};
            let s = sqlparser::parser::Parser::parse_sql(&d, &sql).unwrap();
            println!("parsed");
            drop(s);
            println!("dropped");
        })
        .unwrap();
    t.join().unwrap();
}
