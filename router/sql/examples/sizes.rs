use shardgate_sql::facts::*;
use std::time::Instant;
fn main() {
    println!(
        "sp expr {} function {} query {} select {} setexpr {} dt {} tablefactor {}",
        size_of::<sqlparser::ast::Expr>(),
        size_of::<sqlparser::ast::Function>(),
        size_of::<sqlparser::ast::Query>(),
        size_of::<sqlparser::ast::Select>(),
        size_of::<sqlparser::ast::SetExpr>(),
        size_of::<sqlparser::ast::DataType>(),
        size_of::<sqlparser::ast::TableFactor>()
    );
    println!(
        "our expr {} query {} body {} select {} fromitem {} join {} relation {} stmt {}",
        size_of::<Expr>(),
        size_of::<Query>(),
        size_of::<Body>(),
        size_of::<Select>(),
        size_of::<FromItem>(),
        size_of::<Join>(),
        size_of::<Relation>(),
        size_of::<sqlparser::ast::Statement>()
    );
    let sql = format!("select 1 {}{}", "/*".repeat(20_000), "*/".repeat(20_000));
    let t = Instant::now();
    let _ = shardgate_sql::lexer::lex(&sql);
    println!("lex {:?}", t.elapsed());
    let t = Instant::now();
    let _ = shardgate_sql::split(&sql);
    println!("split {:?}", t.elapsed());
    let t = Instant::now();
    let _ = shardgate_sql::analyze(&sql);
    println!("analyze {:?}", t.elapsed());
}
