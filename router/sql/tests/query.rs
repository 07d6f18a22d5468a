//! What queries say, in table form.

mod show;
use show::check;

#[test]
fn probe() {
    for line in include_str!("probe.sql").lines().filter(|l| !l.trim().is_empty()) {
        let f = shardgate_sql::analyze(line);
        if let shardgate_sql::facts::Statement::Unparsed { reason, .. } = &f.statement {
            println!("{line}\n      UNPARSED: {reason}");
        } else {
            println!("{line}\n      {}", show::statement(&f.statement));
        }
    }
}
