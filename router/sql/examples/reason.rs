fn main() {
    for line in std::io::stdin().lines() { let line = line.unwrap(); if let shardgate_sql::facts::Statement::Unparsed{reason,..} = shardgate_sql::analyze(&line).statement { println!("{reason} @@ {line}"); } }
}
