//! Links with two MiB of memory from the start. Without this, memory ends where the program's data end, and the first allocation
//! grows it, in every instance anew: a `hello` takes twice as long for it.

fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_FAMILY");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|it| it == "wasm") {
        println!("cargo::rustc-link-arg=--initial-memory=2097152");
    }
}
