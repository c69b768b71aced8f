//! Which system calls may still be made, by seccomp.
//!
//! Others fail with EPERM, and those that are newer than these lists with ENOSYS, so that libc takes an older
//! one. None ends the process: a call that these lists forgot must not end a sensor at night.

use std::{collections::BTreeMap, ops::RangeInclusive};

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::Role;

/// Numbers of system calls since Linux 5.1, and room for those to come. They are the same everywhere.
const NEWER: RangeInclusive<c_long> = 424..=600;

/// What every run may call: memory, threads, time, signals to itself, open descriptors, files. Which files:
/// see `files.rs`.
const ALL: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getitimer,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    // Threads give up more. Both take, and never give.
    libc::SYS_capset,
    libc::SYS_seccomp,
];

/// Older names of some of [`ALL`], which only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What a sensor calls besides. With its capabilities, `bpf` attaches programs; netlink lists interfaces.
const SENSOR: &[c_long] =
    &[libc::SYS_bind, libc::SYS_bpf, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_setsockopt];

/// What a sensor's other threads don't call.
const CONTROL_ONLY: &[c_long] =
    &[libc::SYS_bind, libc::SYS_bpf, libc::SYS_capset, libc::SYS_setsockopt, libc::SYS_socket];

/// What may be asked of terminals, pipes and sockets (asm-generic/ioctls.h, linux/sockios.h). TIOCSTI, which
/// types for the user, is not among them.
const IOCTLS: [u64; 15] = [
    0x5401, // TCGETS
    0x5402, // TCSETS
    0x5403, // TCSETSW
    0x5404, // TCSETSF
    0x540f, // TIOCGPGRP
    0x5413, // TIOCGWINSZ
    0x541b, // FIONREAD
    0x5421, // FIONBIO
    0x5450, // FIONCLEX
    0x5451, // FIOCLEX
    0x8933, // SIOCGIFINDEX
    // By newer versions of libc: TCGETS2, TCSETS2, TCSETSW2, TCSETSF2.
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
];

/// The name of a thread, names of memory, what the kernel told the process at its start (PR_GET_AUXV), and
/// what a thread that gives up more has to promise.
const PRCTLS: [libc::c_int; 5] =
    [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, 0x4155_5856, libc::PR_SET_NO_NEW_PRIVS];

/// Of setpriority(2), whose type differs between libraries of C.
const PRIO_PROCESS: u64 = 0;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Limits the calling thread and those that it starts to the calls of its role. Returns what can't be done.
pub(super) fn limit(role: Role) -> Option<String> {
    let install = || -> Result<(), Error> {
        let allowed = allowed(role)?;
        let newer = NEWER.filter(|number| !allowed.contains_key(number)).map(|number| (number, Vec::new()));
        let newer = newer.collect();
        apply_filter(&program(allowed, errno(libc::EPERM), SeccompAction::Allow)?)?;
        // Of two errors, that of the last filter counts.
        apply_filter(&program(newer, SeccompAction::Allow, errno(libc::ENOSYS))?)
    };
    install().err().map(|error| format!("system calls are not limited: {error}"))
}

/// Takes from the calling thread what only the control loop calls.
pub(super) fn give_up() {
    let rules = CONTROL_ONLY.iter().map(|&number| (number, Vec::new())).collect();
    let narrower = program(rules, SeccompAction::Allow, errno(libc::EPERM));
    // Where filters are impossible, the user was told.
    let _ = narrower.and_then(|program| apply_filter(&program));
}

/// The calls of a role, some of them with certain arguments only.
fn allowed(role: Role) -> Result<Rules, Error> {
    let of_role = if role == Role::Sensor { SENSOR } else { &[] };
    let mut rules: Rules =
        [ALL, OLDER, of_role].concat().into_iter().map(|number| (number, Vec::new())).collect();
    rules.insert(libc::SYS_ioctl, with(1, IOCTLS)?);
    rules.insert(libc::SYS_prctl, with(0, PRCTLS.map(|option| option as u64))?);
    // New threads, and no new processes. Of clone3 nothing can be seen, so libc is told that there is none.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    // Limits of this process, and the priority of the calling thread.
    rules.insert(libc::SYS_prlimit64, with(0, [0])?);
    let own = [condition(0, SeccompCmpOp::Eq, PRIO_PROCESS)?, condition(1, SeccompCmpOp::Eq, 0)?];
    rules.insert(libc::SYS_setpriority, vec![SeccompRule::new(own.into())?]);
    // Signals to a thread of this process, for an abort.
    rules.insert(libc::SYS_tgkill, with(0, [std::process::id().into()])?);
    // Without an address: to the other end.
    rules.insert(
        libc::SYS_sendto,
        vec![SeccompRule::new(vec![SeccompCondition::new(
            4,
            seccompiler::SeccompCmpArgLen::Qword,
            SeccompCmpOp::Eq,
            0,
        )?])?],
    );
    // By these, signals and keys wake threads.
    rules.insert(libc::SYS_socketpair, with(0, [libc::AF_UNIX as u64])?);
    if role == Role::Sensor {
        // libc asks for an interface's index by a Unix socket, which can't be connected.
        rules.insert(
            libc::SYS_socket,
            with(0, [libc::AF_NETLINK, libc::AF_UNIX].map(|family| family as u64))?,
        );
    }
    Ok(rules)
}

/// One rule for each value that the argument of this number may have.
fn with(argument: u8, values: impl IntoIterator<Item = u64>) -> Result<Vec<SeccompRule>, Error> {
    values.into_iter().map(|value| rule(argument, SeccompCmpOp::Eq, value)).collect()
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(vec![condition(argument, operator, value)?])?)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(argument, Dword, operator, value)?)
}

/// A filter with `otherwise` for calls without a rule.
fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()?)
}

fn errno(code: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(code as u32)
}
