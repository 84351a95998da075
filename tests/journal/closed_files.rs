//! Journal files that cannot be opened, for a while or until somebody gives the rights: nothing is passed over unseen.

use super::*;

/// Opening files of a name fails while a switch is on.
const CLOSED: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(const char *path) {
    const char *name = getenv("CLOSED_NAME"), *on = getenv("CLOSED_SWITCH");
    return path && name && on && strstr(path, name) && !access(on, F_OK);
}
#define OPENS(function)                                                        \
    int function(const char *path, int flags, ...) {                           \
        static int (*next)(const char *, int, ...);                            \
        va_list more;                                                          \
        va_start(more, flags);                                                 \
        int mode = va_arg(more, int);                                          \
        va_end(more);                                                          \
        if (!next) next = dlsym(RTLD_NEXT, #function);                         \
        if (fails(path)) { errno = atoi(getenv("CLOSED_ERROR")); return -1; }  \
        return next(path, flags, mode);                                        \
    }
OPENS(open)
OPENS(open64)
"#;

/// Two files of one numbering whose entries come in turns, the second of which cannot be opened, and one of another numbering. Gives the agent's
/// rig, its configuration and the switch.
fn closed(loki: &Loki, errno: i32) -> (Rig, Config, PathBuf) {
    let rig = Rig::new();
    let numbered = |from: usize| {
        move |content: &mut Vec<u8>| {
            content[72..88].fill(0xaa);
            let offsets = entries_of(content);
            for (n, at) in offsets.iter().enumerate() {
                set_number(content, at + 16, from + 2 * n);
            }
            set_number(content, 160, from + 2 * (offsets.len() - 1));
            set_number(content, 168, from);
        }
    };
    put(&build(&rig, &[(0, 60, 1, &texts("s", 20))]), &rig, "system.journal", numbered(1));
    put(&build(&rig, &[(0, 60, 1, &texts("u", 20))]), &rig, "user-1000.journal", numbered(2));
    let other = rig.path().join("journal").join("cd".repeat(16));
    fs::create_dir(&other).unwrap();
    let made = put(&build(&rig, &[(0, 60, 1, &texts("o", 5))]), &rig, "made", same);
    fs::rename(made, other.join("system.journal")).unwrap();
    let (code, library, switch) =
        (rig.path().join("closed.c"), rig.path().join("closed.so"), rig.path().join("switch"));
    fs::write(&code, CLOSED).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).arg("-ldl").status();
    assert!(made.expect("a C compiler, which rustc needs as well").success());
    fs::write(&switch, "").unwrap();
    let rig = rig
        .with_env("LD_PRELOAD", &library)
        .with_env("CLOSED_NAME", "user-1000.journal")
        .with_env("CLOSED_SWITCH", &switch)
        .with_env("CLOSED_ERROR", errno.to_string());
    let config = Config::new(&loki.url()).source(source(&rig.path().join("journal"), ""));
    (rig, config, switch)
}

/// While a file cannot be opened since the host has no descriptors left, nothing of its numbering is passed over; others go on.
#[test]
fn a_file_that_cannot_be_opened_for_a_while_loses_nothing() {
    let loki = kept();
    let (rig, config, switch) = closed(&loki, libc_emfile());
    let agent = rig.start(&config);
    wait_until("attempts", DRAIN, || agent.metric("lugger_file_errors_total") >= Some(6.0));
    wait_all(&loki, texts("o", 5));
    fs::remove_file(switch).unwrap();
    wait_all(&loki, [texts("s", 20), texts("u", 20), texts("o", 5)].concat());
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    assert_eq!(agent.stderr().matches("user-1000.journal cannot be read").count(), 1, "{}", agent.stderr());
}

fn libc_emfile() -> i32 {
    rustix::io::Errno::MFILE.raw_os_error()
}

/// Nobody waits for a file that must not be read; what its numbering was read over is counted when it may.
#[test]
fn what_is_passed_over_without_rights_is_counted() {
    let loki = kept();
    let (rig, config, switch) = closed(&loki, rustix::io::Errno::ACCESS.raw_os_error());
    let agent = rig.start(&config);
    wait_all(&loki, [texts("s", 20), texts("o", 5)].concat());
    fs::remove_file(switch).unwrap();
    wait_until("the count", DRAIN, || lost(&agent, "late") > 0.0);
    // The last one has a number above all that was read.
    wait_all(&loki, [texts("s", 20), texts("o", 5), vec!["u19".to_owned()]].concat());
    assert_eq!(lost(&agent, "late"), 19.0);
}

/// `max_age` holds after the restart with the rights that were missing at the first start, be it for all files or one of them.
#[test]
fn what_is_too_old_stays_so_when_rights_come_later() {
    for readable in [None, Some("readable.journal")] {
        let loki = kept();
        let rig = Rig::unprivileged();
        let runs = |new: &[String]| build(&rig, &[(0, 1200, 1, &texts("old", 20)), (0, 60, 1141, new)]);
        let mut want = texts("new", 5);
        let file = put(&runs(&want), &rig, "system.journal", same);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some(name) = readable {
            want.extend(texts("readable", 5));
            let file = put(&runs(&texts("readable", 5)), &rig, name, same);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let config = Config::new(&loki.url()).source(source(&rig.path().join("journal"), ", max_age: 10m"));
        let mut agent = rig.start(&config);
        wait_until("the message", DRAIN, || agent.stderr().contains("system.journal must not be read"));
        wait_all(&loki, want.iter().filter(|text| text.starts_with("readable")).cloned().collect());
        assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
        // It is rotated, too; and a file comes that nobody has seen.
        let archive = file.with_file_name("system@0005f00000000000-0005f00000000000.journal~");
        fs::rename(&file, &archive).unwrap();
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
        let agent = rig.start(&config);
        wait_all(&loki, want.clone());
        drop(agent);
        let file = put(&build(&rig, &[(1, 1200, 1, &texts("unseen", 5))]), &rig, "other.journal", same);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let agent = rig.start(&config);
        want.extend(texts("unseen", 5));
        wait_all(&loki, want);
        drop(agent);
    }
}
