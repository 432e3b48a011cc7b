//! Links a guest with two MiB of memory from the start. As the linker does it, memory ends where the program's data end, and the
//! first allocation grows it: with a system call for each instance, and a lock that all threads of a host share.

fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_FAMILY");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|it| it == "wasm") {
        println!("cargo::rustc-link-arg=--initial-memory=2097152");
    }
}
