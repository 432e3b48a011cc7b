//! What a process gives up before it reads bytes that somebody made to break it: files, sockets, other processes.
//!
//! For a process that computes, from its standard input to its standard output. What the kernel does not offer is left out, and
//! [`missing`] names it.

mod calls;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Descriptors: the standard streams, and some to spare for the C library.
const DESCRIPTORS: u64 = 16;
/// The rules of Landlock that are asked for; a kernel takes those that it knows.
const RULES: ABI = ABI::V6;

/// Confines this process, which has one thread yet: threads that it starts are confined too. It keeps its standard streams, memory,
/// threads and clocks. Best effort: what is not there is left out.
pub fn process() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, DESCRIPTORS),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        let _ = setrlimit(resource, limit);
    }
    thread();
}

/// Confines this thread and those that it starts.
pub fn thread() {
    let _ = rustix::thread::set_no_new_privs(true);
    let _ = no_files(CompatLevel::BestEffort);
    let _ = calls::restrict();
}

/// What of [`process`] this kernel does not offer; empty where it is all there.
pub fn missing() -> Vec<&'static str> {
    // Asked in threads of their own, which end confined.
    let has = |asked: fn() -> bool| std::thread::spawn(asked).join().unwrap_or(false);
    let mut missing = Vec::new();
    if !has(|| no_files(CompatLevel::SoftRequirement)) {
        missing.push("Landlock: compilers can open what the host's user can");
    }
    if !has(|| calls::restrict().is_ok()) {
        missing.push("seccomp: compilers can make any system call");
    }
    missing
}

/// No file can be opened, no port bound or connected to, nothing outside signalled. Whether files at least are out of reach.
fn no_files(level: CompatLevel) -> bool {
    let restricted = || -> Result<_, RulesetError> {
        Ruleset::default()
            .set_compatibility(level)
            .handle_access(AccessFs::from_all(RULES))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessNet::from_all(RULES))?
            .scope(Scope::from_all(RULES))?
            .create()?
            .restrict_self()
    };
    restricted().is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}
