use super::*;
#[test]
fn show() {
    let r = load(
        Path::new("/tmp/sg/bad.toml"),
        [
            ("SHARDGATE__LISTEN__PROT".into(), "1".into()),
            ("SHARDGATE__POOL__SIZE".into(), "x".into()),
        ],
    );
    print!("{}", crate::check::render(&r).text);
}
