//! Rules that a machine can check: what each crate may depend on, and what every file must say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a crate may depend on, besides what its tests need. A new entry is a decision of its own.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "router/wire",
        &["bytes", "thiserror", "base64", "hmac", "sha2", "subtle"],
    ),
    ("router/shard-map", &["thiserror", "hashring"]),
    ("router/sql", &["sqlparser", "thiserror"]),
    (
        "router/plan",
        &["shardgate-sql", "shardgate-shard-map", "thiserror"],
    ),
    ("router/merge", &["shardgate-wire", "thiserror"]),
    (
        "router/session",
        &[
            "shardgate-wire",
            "shardgate-sql",
            "shardgate-plan",
            "shardgate-shard-map",
            "shardgate-merge",
            "bytes",
            "foldhash",
            "quick_cache",
        ],
    ),
];

/// Words that a pure crate has no business with: sockets, clocks, randomness, threads, files.
const IMPURE: &[&str] = &[
    "std::net",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::env",
    "tokio",
    "getrandom",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_path_buf()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path
                .file_name()
                .is_some_and(|name| name != "target" && name != "node_modules")
            {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["router", "shard-admin", "tests"] {
        sources(&root().join(folder), &mut found);
    }
    assert!(
        found.len() > 100,
        "the sources were not found: {} files",
        found.len()
    );
    found
}

/// Names in the `[dependencies]` section of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once('=') {
            names.insert(name.trim().trim_end_matches(".workspace").to_string());
        }
    }
    names
}

#[test]
fn pure_crates_depend_on_nothing_else() {
    for (folder, allowed) in ALLOWED {
        let manifest =
            std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_string()).collect();
        let extra: Vec<String> = dependencies(&manifest)
            .difference(&allowed)
            .cloned()
            .collect();
        assert!(extra.is_empty(), "{folder} depends on {extra:?}");
    }
}

#[test]
fn pure_crates_use_no_clock_socket_or_file() {
    for (folder, _) in ALLOWED {
        let mut found = Vec::new();
        sources(&root().join(folder).join("src"), &mut found);
        for path in found {
            if path
                .components()
                .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            // The tests at the end of a file may do what they like.
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            for line in code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
            {
                for word in IMPURE {
                    assert!(!line.contains(word), "{}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<String> = all_sources()
        .iter()
        // Tests beside a module speak of that module.
        .filter(|path| path.file_name().is_none_or(|name| name != "tests.rs"))
        .filter(|path| {
            !std::fs::read_to_string(path)
                .expect("a source")
                .starts_with("//!")
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:#?}");
}

#[test]
fn there_is_no_process_wide_state() {
    let mut found = Vec::new();
    for path in all_sources() {
        let text = std::fs::read_to_string(&path).expect("a source");
        for line in text.lines() {
            let line = line.trim_start();
            let is_static = ["static ", "pub static ", "pub(crate) static "]
                .iter()
                .any(|start| line.starts_with(start));
            let is_allocator = line.contains("MiMalloc");
            if is_static
                && !is_allocator
                && ["Mutex", "Atomic", "Lock", "Cell", "Map"]
                    .iter()
                    .any(|word| line.contains(word))
            {
                found.push(format!("{}: {line}", path.display()));
            }
        }
    }
    // The harness shares one cluster among the tests of a binary; the product has no such thing.
    found.retain(|line| !line.contains("/tests/"));
    assert!(found.is_empty(), "{found:#?}");
}
