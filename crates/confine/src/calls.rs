//! The system calls of a process that computes, and no others.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Without arguments to look at.
const ALLOWED: &[libc::c_long] = &[
    // Streams that are open.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    // Memory. Machine code is written, not run.
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads. `clone3` is refused by the other filter.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals of its own.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Clocks and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[libc::c_long] =
    &[libc::SYS_poll, libc::SYS_gettimeofday, libc::SYS_getcpu];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[libc::c_long] = &[];

/// Refuses this thread, and those that it starts, every other call: with an error, as the C library and the runtime go on without
/// most of them.
pub(crate) fn restrict() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let refused = SeccompAction::Errno(EPERM);
    let machine = std::env::consts::ARCH.try_into()?;
    let filter: BpfProgram =
        SeccompFilter::new(rules()?, refused, SeccompAction::Allow, machine)?.try_into()?;
    // A filter cannot see the arguments of `clone3`. The C library falls back on `clone` when it is told that there is none, which
    // takes a filter of its own: of two filters the stricter answer counts.
    let unknown = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    let fallback = SeccompAction::Errno(ENOSYS);
    let first: BpfProgram =
        SeccompFilter::new(unknown, SeccompAction::Allow, fallback, machine)?.try_into()?;
    seccompiler::apply_filter(&first)?;
    seccompiler::apply_filter(&filter)?;
    Ok(())
}

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let always = ALLOWED.iter().chain(OF_THIS_MACHINE);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.map(|call| (*call, vec![])).collect();
    let masked = |argument, mask, value| {
        let compared = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, compared, value)?;
        SeccompRule::new(vec![condition])
    };
    let is = |argument, value| masked(argument, u64::MAX, value);
    // Threads, and no processes.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
    // A thread's name, and names of memory.
    let names = [libc::PR_SET_NAME, libc::PR_SET_VMA];
    let names = names.map(|name| is(0, u64::from(name.unsigned_abs())));
    rules.insert(
        libc::SYS_prctl,
        names.into_iter().collect::<Result<_, _>>()?,
    );
    // Its own limits, which it can look at.
    rules.insert(libc::SYS_prlimit64, vec![is(0, 0)?]);
    // An abort: a signal to itself.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![is(0, own)?]);
    Ok(rules)
}
