//! The administration binary `shard-admin`.

fn main() -> std::process::ExitCode {
    shard_admin::cli::main()
}
