//! What queries say, in table form.

mod show;
use show::check;

#[test]
fn probe() {
    for line in concat!(include_str!("probe.sql"), include_str!("probe2.sql"))
        .lines()
        .filter(|l| !l.trim().is_empty())
    {
        let f = shardgate_sql::analyze(line);
        if let shardgate_sql::facts::Statement::Unparsed { reason, .. } = &f.statement {
            println!("{line}\n      UNPARSED: {reason}");
        } else {
            println!("{line}\n      {}", show::statement(&f.statement));
        }
    }
}
