//! Links with a stack of its own that outlasts the host's: a script that recurses without end meets the host's limit, which has a
//! name, before it meets the end of its memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|it| it == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=8388608");
    }
}
