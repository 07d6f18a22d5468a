//! Runs what the router does with a statement, stage by stage, again and again, for somebody who counts instructions.
//!
//! It measures nothing itself. Under callgrind with `--dump-before=*dump_here*` every second dump holds the instructions
//! of one case; the names come on the standard output in the same order. `tests/baseline.rs` does that and compares. All
//! input is made before the counting begins. With the name of a case as its argument it runs that one alone, for a
//! profiler.

mod catalog;
mod server;
mod session;
mod stages;
mod statements;

use std::hint::black_box;

/// The router's own allocator: a good part of the instructions are its.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the measured work of each case is done; `tests/baseline.rs` divides by it.
const REPEATS: u32 = 50;

/// One thing to count.
struct Case {
    name: String,
    /// Does it once; the argument is a different number each time.
    work: Box<dyn FnMut(u32)>,
    /// How often it is done before, until caches are as in a router that has run for a while.
    warm_up: u32,
}

fn main() {
    let wanted = std::env::args().nth(1);
    let cases = stages::wire()
        .into_iter()
        .chain(stages::sql())
        .chain(stages::plan())
        .chain(session::cases());
    for case in cases {
        if wanted.as_ref().is_none_or(|wanted| *wanted == case.name) {
            run(case);
        }
    }
}

fn run(mut case: Case) {
    for number in 0..case.warm_up {
        (case.work)(number);
    }
    println!("{}", case.name);
    dump_here();
    for number in case.warm_up..case.warm_up + REPEATS {
        (case.work)(number);
    }
    dump_here();
}

/// The counting tool knows it by its name.
#[inline(never)]
fn dump_here() {
    black_box(());
}
