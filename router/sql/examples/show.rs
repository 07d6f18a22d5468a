#[path = "../tests/show/mod.rs"]
mod show;
fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        println!("{}", show::show(&line).replace('\n', "\\n"));
    }
}
