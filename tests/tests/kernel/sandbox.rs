//! What a sensor may still do after its start, on the real kernel.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tmap_tests::{
    command::{OpenBinary, Running, binary, tmap, wait_for},
    net::{
        namespaces::{INTERFACE, Namespace, Wire},
        root,
    },
    sandbox::{self, probe, status},
    simulate::Scenario,
};

/// The user of nobody's files.
const NOBODY: u32 = 65_534;

/// What attaching takes: CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (linux/capability.h).
const ATTACHING: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// CAP_SYS_ADMIN.
const ADMIN: u64 = 1 << 21;

/// A sensor in the far end of a wire, as root starts it who didn't call sudo.
fn watch(wire: &Wire, arguments: &[&str]) -> Running {
    let mut command = wire.far.command(binary());
    command.args(arguments).env_remove("SUDO_UID").env_remove("SUDO_GID");
    Running::spawn(command)
}

/// Asserts what the threads of a sensor may do.
fn assert_confined(tmap: &Running, user: u32) {
    let tasks = format!("/proc/{}/task", tmap.pid());
    // A thread gives up first what it has, but it may not have begun.
    wait_for("the threads to begin", || {
        let mut tasks = fs::read_dir(&tasks).expect("it runs").flatten();
        tasks.all(|task| {
            let is_control = task.file_name().to_string_lossy() == tmap.pid().to_string();
            is_control || status(&task.path()).effective == 0
        })
    });
    let mut names = Vec::new();
    for task in fs::read_dir(&tasks).expect("it runs").flatten() {
        let name = fs::read_to_string(task.path().join("comm")).expect("a name").trim().to_owned();
        let of = status(&task.path());
        let is_control = task.file_name().to_string_lossy() == tmap.pid().to_string();
        let kept = if is_control { ATTACHING } else { 0 };
        assert_eq!((of.effective, of.permitted), (kept, kept), "{name}: {of:?}");
        assert_eq!((of.bounding, of.ambient, of.inheritable), (0, 0, 0), "{name}: {of:?}");
        assert_eq!((of.no_new_privs, of.seccomp), (1, 2), "{name}: {of:?}");
        assert_eq!((&of.users[..], &of.groups[..]), (&[user; 4][..], &[user][..]), "{name}: {of:?}");
        names.push(name);
    }
    for name in ["signals", "drain", "analysis"] {
        assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
    }
}

/// Deletes the wire and makes it again; the sensor must watch it again.
fn assert_attached_again(wire: &Wire, tmap: &Running) {
    let Wire { near, far } = wire;
    near.ip(&format!("link del {INTERFACE}"));
    wait_for("the end of the interface", || tmap.err().contains("is gone"));
    near.join(INTERFACE, far);
    for end in [near, far] {
        end.ip(&format!("link set {INTERFACE} up"));
    }
    wait_for("the interface to be back", || tmap.err().contains("is watched (ingress by TCX"));
    assert!(!tmap.err().contains("not watched now"), "{}", tmap.err());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_sensor_gives_up_what_it_does_not_need_and_attaches_again() {
    let wire = Wire::new(1500, false);
    let tmap = watch(&wire, &["live", "-i", INTERFACE, "--egress", "--wait", "--promisc", "--shards", "2"]);
    assert_confined(&tmap, NOBODY);
    assert_attached_again(&wire, &tmap);
    // Joined by a socket of before: CAP_NET_RAW is gone.
    let joined = || tmap.err().matches("is in promiscuous mode while tmap runs").count() == 2;
    wait_for("promiscuous mode again", joined);
    let link = wire.far.ip(&format!("-d link show dev {INTERFACE}"));
    assert!(link.contains("promiscuity 1"), "{link}");
    assert_confined(&tmap, NOBODY);
}

/// The nice value in a `stat` of a thread, where that has this name. proc_pid_stat(5): the name is in
/// brackets, and nice is the 17th field after it.
fn nice_value(stat: &Path, name: &str) -> Option<String> {
    let stat = fs::read_to_string(stat).ok()?;
    let (before, fields) = stat.rsplit_once(") ")?;
    before.ends_with(name).then(|| fields.split(' ').nth(16).map(str::to_owned))?
}

/// The thread that empties the rings comes first, then those that answer, although nobody has a right to that
/// any more.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn threads_keep_their_priorities() {
    let wire = Wire::new(1500, false);
    let tmap = watch(&wire, &["live", "-i", INTERFACE]);
    let process = PathBuf::from(format!("/proc/{}", tmap.pid()));
    let tasks: Vec<_> = fs::read_dir(process.join("task")).expect("it runs").flatten().collect();
    let of = |name| tasks.iter().find_map(|task| nice_value(&task.path().join("stat"), name));
    let found = [of("(drain"), of("(answers"), nice_value(&process.join("stat"), ""), of("(analysis")];
    let found = found.map(|nice| nice.expect("each thread is there").parse::<i32>().expect("a number"));
    // They count from the priority with which it was started: this test's own.
    let own =
        nice_value("/proc/self/stat".as_ref(), "").expect("this runs").parse::<i32>().expect("a number");
    assert_eq!(found, [-10, -5, -5, 5].map(|more| (own + more).clamp(-20, 19)));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whoever_called_sudo_is_the_user() {
    let wire = Wire::new(1500, false);
    let mut command = wire.far.command(binary());
    command.args(["live", "-i", INTERFACE]).env("SUDO_UID", "1234").env("SUDO_GID", "1234");
    assert_confined(&Running::spawn(command), 1234);
}

/// The kernel takes the largest number for "as before", which would be root.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_number_that_is_no_user_makes_nobody_the_user() {
    let wire = Wire::new(1500, false);
    for (uid, gid) in [("4294967295", "1000"), ("1000", "4294967295")] {
        let mut command = wire.far.command(binary());
        command.args(["live", "-i", INTERFACE]).env("SUDO_UID", uid).env("SUDO_GID", gid);
        assert_confined(&Running::spawn(command), NOBODY);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn three_capabilities_suffice() {
    let wire = Wire::new(1500, false);
    let program = OpenBinary::new();
    let mut command = wire.far.command("setpriv");
    let three = "+bpf,+net_admin,+perfmon";
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    command.arg(format!("--inh-caps=-all,{three}")).arg(format!("--ambient-caps=-all,{three}"));
    command.arg(format!("--bounding-set=-all,{three}")).arg(program.path());
    command.args(["live", "-i", INTERFACE, "--egress", "--wait", "--no-promisc"]);
    let tmap = Running::spawn(command);
    let main = status(Path::new(&format!("/proc/{}", tmap.pid())));
    assert_eq!((main.effective, main.ambient, main.users), (ATTACHING, 0, vec![NOBODY; 4]));
    assert_eq!((main.no_new_privs, main.seccomp), (1, 2));
    assert_attached_again(&wire, &tmap);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_sandbox_all_rights_stay() {
    let wire = Wire::new(1500, false);
    let tmap = watch(&wire, &["live", "-i", INTERFACE, "--no-sandbox"]);
    let main = status(Path::new(&format!("/proc/{}", tmap.pid())));
    assert_eq!((main.users[0], main.no_new_privs, main.seccomp), (0, 0, 0), "{main:?}");
    assert!(main.effective & ADMIN != 0, "{main:?}");
}

/// Runs `tmap report` with its page in `folder`, and returns whether its two pages were two files.
fn pages_are_two_files(folder: &Path) -> bool {
    let wire = Wire::new(1500, false);
    let page = folder.join("page.html");
    let mut tmap = watch(&wire, &["report", "-i", INTERFACE, "-o", page.to_str().expect("a name")]);
    let written = || fs::read_to_string(&page).unwrap_or_default();
    tmap.send(Signal::SIGUSR1);
    wait_for("a page", || written().trim_end().ends_with("</html>"));
    let first = fs::metadata(&page).expect("a page").ino();
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
    assert!(written().trim_end().ends_with("</html>"));
    let left = fs::read_dir(folder).expect("a folder").count();
    assert_eq!(left, 1, "only the page is left");
    fs::metadata(&page).expect("a page").ino() != first
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pages_are_written_wherever_root_could() {
    // 0700, of root.
    let hidden = TempDir::new().expect("a folder");
    assert!(!pages_are_two_files(hidden.path()), "nobody can only fill root's file again");
    let own = TempDir::new().expect("a folder");
    chown(own.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
    assert!(pages_are_two_files(own.path()), "a page takes the place of the one before");
    // Sticky: a file of root can't be replaced there, and is written anew.
    let sticky = TempDir::new().expect("a folder");
    fs::set_permissions(sticky.path(), fs::Permissions::from_mode(0o1777)).expect("set");
    assert!(!pages_are_two_files(sticky.path()));
}

/// The sandboxed user can make no new page in root's folder, and the one that it has open is somewhere else:
/// with a folder that it may look into, and without.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_page_that_was_moved_or_deleted_is_not_written_elsewhere() {
    let wire = Wire::new(1500, false);
    for (mode, is_kept) in [(0o755, true), (0o755, false), (0o700, true), (0o700, false)] {
        let folder = TempDir::new().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("set");
        let (page, archived) = (folder.path().join("page.html"), folder.path().join("archived.html"));
        let mut tmap = watch(&wire, &["report", "-i", INTERFACE, "-o", page.to_str().expect("a name")]);
        tmap.send(Signal::SIGUSR1);
        let is_written = || fs::read_to_string(&page).is_ok_and(|html| html.trim_end().ends_with("</html>"));
        wait_for("a page", is_written);
        let before = fs::read(&page).expect("a page");
        if is_kept {
            fs::rename(&page, &archived).expect("moved");
        } else {
            fs::remove_file(&page).expect("deleted");
        }
        tmap.send(Signal::SIGTERM);
        assert_eq!(tmap.end().code(), Some(1), "{mode:o} {is_kept}: {}", tmap.err());
        let err = tmap.err();
        assert!(err.contains("cannot write the page: "), "{mode:o} {is_kept}: {err}");
        assert!(err.contains("page.html was deleted, moved or replaced"), "{mode:o} {is_kept}: {err}");
        assert!(!page.exists());
        assert!(!is_kept || fs::read(&archived).expect("it is there") == before, "{mode:o}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_forbidden_fails_inside() {
    root::require();
    let folder = TempDir::new().expect("a folder");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
    probe("sensor", folder.path()).assert_confined(true);
    probe("thread", folder.path()).assert_confined(false);
}

/// Before Linux 6.6, TC programs are filters, which a sensor itself takes away.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn filters_are_removed_from_inside() {
    let namespace = Namespace::new();
    let output = namespace.command(sandbox::binary()).args(["clsact", "lo"]).output();
    let output = output.expect("it runs");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("ingress by clsact"), "{out}");
    assert!(!out.contains("note:"), "{out}");
    let filters = namespace.command("tc").args(["filter", "show", "dev", "lo", "ingress"]).output();
    assert_eq!(String::from_utf8_lossy(&filters.expect("tc runs").stdout), "");
}

/// Root's capabilities without those of changing the user, as some containers have it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_root_that_cannot_change_goes_on_without_capabilities() {
    let wire = Wire::new(1500, false);
    let mut command = wire.far.command("setpriv");
    command.arg("--bounding-set=-setuid,-setgid,-setpcap").arg(binary());
    command.args(["live", "-i", INTERFACE, "--wait", "--no-promisc"]).env_remove("SUDO_UID");
    let tmap = Running::spawn(command);
    assert!(tmap.err().contains("cannot change to the user of UID 65534"), "{}", tmap.err());
    let main = status(Path::new(&format!("/proc/{}", tmap.pid())));
    assert_eq!((main.effective, main.permitted), (ATTACHING, ATTACHING), "{main:?}");
    assert_eq!((main.no_new_privs, main.seccomp), (1, 2), "{main:?}");
    assert_attached_again(&wire, &tmap);
}

/// Captures that tcpdump wrote as a user of its own, for its eyes only: root reads them, as ever.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn root_reads_what_others_hide() {
    root::require();
    let folder = TempDir::new().expect("a folder");
    let capture = folder.path().join("a.pcap");
    fs::write(&capture, Scenario::default().capture()).expect("written");
    fs::set_permissions(&capture, fs::Permissions::from_mode(0o600)).expect("set");
    chown(&capture, Some(1234), Some(1234)).expect("root may");
    let run = tmap(["read".as_ref(), capture.as_os_str()]);
    assert_eq!((run.code, &run.err[..]), (0, ""));
    assert!(run.out.contains("Machines"), "{}", run.out);
}
