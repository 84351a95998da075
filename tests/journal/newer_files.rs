//! Files of a newer systemd, which `journalctl` reads.

use super::*;
use lugger::base::limits::JOURNAL_TOOLS;

/// A `journalctl` that is newer than this reader: it reads another file where it is asked for one of the format that is not known.
fn newer(rig: &Rig, real: &Path) -> PathBuf {
    let directory = rig.path().join("bin");
    fs::create_dir_all(&directory).unwrap();
    let script = format!(
        "#!/bin/bash\nargs=()\nfor arg in \"$@\"; do\n  case $arg in */newer/*.journal) arg='{}';; esac\n  args+=(\"$arg\")\ndone\n\
         exec /usr/bin/journalctl \"${{args[@]}}\"\n",
        real.display()
    );
    let path = directory.join("journalctl");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Files with format flags of a newer systemd are read by its `journalctl`, over kills, to a file's end and beyond.
#[test]
fn files_of_a_newer_format_are_read_by_journalctl() {
    const LINES: u64 = 3_000;
    let loki = Loki::start();
    let book = Book::keep(&loki, "newer");
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "RuntimeMaxFileSize=64M\n");
    let log = |range: std::ops::Range<u64>| {
        for n in range {
            let (mut body, mut text) = (String::from("MESSAGE="), String::new());
            line("newer", n, 0, &mut text);
            body.push_str(&text);
            journald.log(&[&body, "LEDGER=yes"]);
        }
    };
    log(0..500);
    let real = journald::files(journald.directory())[0].clone();
    let mut header = Vec::new();
    wait_until("a header", DRAIN, || {
        header = fs::read(&real).unwrap();
        header.len() > 4096
    });
    header.truncate(4096);
    header[15] = 1;
    let directory = rig.path().join("newer");
    fs::create_dir(&directory).unwrap();
    let config = Config::new(&loki.url())
        .source(source(&directory, ", matches: LEDGER=yes"))
        .endpoint("batch_size", "16KiB")
        .endpoint("batch_wait", "50ms");
    // Without one it is said what is missing.
    let nothing = rig.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    fs::write(directory.join("system.journal"), &header).unwrap();
    let rig = rig.with_env("PATH", &nothing);
    let mut agent = rig.start(&config);
    wait_until("the message", DRAIN, || agent.stderr().contains("install systemd's journalctl"));
    assert!(agent.ask("GET", "/api/status", &[]).body.contains("install systemd's journalctl"));
    agent.kill();
    let bin = newer(&rig, &real);
    let rig = rig.with_env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let processes = || -> usize {
        let list = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        let path = real.display().to_string();
        String::from_utf8_lossy(&list.stdout)
            .lines()
            .filter(|line| line.contains("--follow") && line.contains(&path))
            .count()
    };
    let mut agent = rig.start(&config);
    book.wait_all(500, DRAIN);
    for part in 1..5 {
        log(part * 500..part * 500 + 500);
        wait_until("a part", DRAIN, || book.seen() >= part * 500 + 200);
        if part % 2 == 0 {
            assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
            assert_eq!(processes(), 0);
        } else {
            agent.kill();
        }
        agent = rig.start(&config);
    }
    assert_eq!(processes(), 1, "one file, one process");
    log(2500..LINES);
    book.wait_all(LINES, DRAIN);
    // It is rotated, and gone on with no longer.
    fs::rename(directory.join("system.journal"), directory.join("system@0005f00000000000-0005f00000000000.journal~"))
        .unwrap();
    wait_until("the process to end", DRAIN, || processes() == 0);
    let verdict = book.lock().verdict(LINES);
    println!("{verdict:?}");
    verdict.assert_perfect(LINES);
    agent.kill();
    loki.assert_no_defects();
    journald.stop();
}

/// A `journalctl` that is newer than this reader: it reads files in `real` where it is asked for those in `newer`, whose headers have a flag that is
/// not known here. Gives the rig with it, and both directories.
fn newer_files(rig: Rig) -> (Rig, PathBuf, PathBuf) {
    newer_files_by(rig, "", "")
}

/// The same, with something that the script does before, and to what is printed.
fn newer_files_by(rig: Rig, before: &str, to: &str) -> (Rig, PathBuf, PathBuf) {
    let [bin, newer, real] = ["bin", "newer", "real"].map(|name| rig.path().join(name));
    for directory in [&bin, &newer, &real] {
        fs::create_dir_all(directory).unwrap();
    }
    let script = bin.join("journalctl");
    let text = format!("#!/bin/bash\n{before}\nexec /usr/bin/journalctl \"${{@//\\/newer\\//\\/real\\/}}\" {to}\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    (rig.with_env("PATH", format!("{}:/usr/bin:/bin", bin.display())), newer, real)
}

/// Writes or goes on with a file in `real`.
fn write_real(real: &Path, name: &str, boot: usize, (ago_s, since_s): (u64, u64), texts: &[String]) {
    let mut export = Export::default();
    for (n, text) in (0..).zip(texts) {
        let (time, since) = (now_us() - ago_s * 1_000_000 + n * 1000, since_s * 1_000_000 + n * 1000);
        export.entry(time, since, BOOTS[boot]).field("MESSAGE", text).field("PRIORITY", "6");
    }
    journalctl::write(real, name.trim_end_matches(".journal"), FORMS[3], &export.0);
}

/// Shows it in `newer`, as of a format that is not known.
fn show_newer(newer: &Path, real: &Path, name: &str) {
    let mut header = fs::read(real.join(name)).unwrap();
    header.truncate(4096);
    header[15] = 1;
    let hidden = newer.join("hidden");
    fs::write(&hidden, header).unwrap();
    fs::rename(hidden, newer.join(name)).unwrap();
}

/// Processes of `journalctl` that read files in a directory.
fn tools(real: &Path) -> Vec<String> {
    let list = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let path = format!("{}/", real.display());
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    list.lines()
        .filter(|line| line.contains("/usr/bin/journalctl") && line.contains(&path))
        .map(str::to_owned)
        .collect()
}

/// Entries of all boots come of a file of a newer format that is being written, of those before and of those that begin later.
#[test]
fn a_file_of_a_newer_format_has_entries_of_several_boots() {
    let loki = kept();
    let (rig, newer, real) = newer_files(Rig::new());
    let mut want = [texts("one", 10), texts("two", 5)].concat();
    write_real(&real, "a [x].journal", 0, (60, 90), &want[..10]);
    write_real(&real, "a [x].journal", 1, (30, 1), &want[10..]);
    write_real(&real, "user.journal", 0, (50, 100), &texts("user", 5));
    want.extend(texts("user", 5));
    for name in ["a [x].journal", "user.journal"] {
        show_newer(&newer, &real, name);
    }
    let agent = rig.start(&Config::new(&loki.url()).source(source(&newer, "")));
    wait_all(&loki, want.clone());
    write_real(&real, "user.journal", 1, (5, 26), &texts("next", 5));
    want.extend(texts("next", 5));
    wait_all(&loki, want);
    assert_eq!(tools(&real).len(), 2);
    drop(agent);
    loki.assert_no_defects();
}

/// Where there are more files of a newer format than there may be processes they take turns; a file that is gone keeps none.
#[test]
fn many_files_of_a_newer_format_take_turns() {
    const FILES: usize = 40;
    let loki = kept();
    let (rig, newer, real) = newer_files(Rig::new());
    let name = |n: usize| format!("user-{}.journal", 1000 + n);
    let mut want = Vec::new();
    for n in 0..FILES {
        let lines = texts(&format!("file {n} line "), 2);
        write_real(&real, &name(n), 0, (60, 90), &lines);
        show_newer(&newer, &real, &name(n));
        want.extend(lines);
    }
    let agent = rig.start(&Config::new(&loki.url()).source(source(&newer, "")));
    wait_all(&loki, want.clone());
    for n in [3, 37] {
        let lines = texts(&format!("more of {n} "), 3);
        write_real(&real, &name(n), 0, (30, 120), &lines);
        show_newer(&newer, &real, &name(n));
        want.extend(lines);
    }
    wait_all(&loki, want.clone());
    let most = || tools(&real).len();
    assert!(most() <= JOURNAL_TOOLS);
    wait_until("all to be read", DRAIN, || most() == 0);
    // There is room for all of them again.
    for n in 2..FILES - 1 {
        fs::remove_file(newer.join(name(n))).unwrap();
    }
    wait_until("three to be followed", DRAIN, || {
        let tools = tools(&real);
        tools.len() == 3 && tools.iter().all(|tool| tool.contains("--follow"))
    });
    for n in [0, FILES - 1] {
        let lines = texts(&format!("last of {n} "), 3);
        write_real(&real, &name(n), 0, (10, 140), &lines);
        want.extend(lines);
    }
    wait_all(&loki, want.clone());
    fs::remove_file(newer.join(name(1))).unwrap();
    wait_until("its process to end", DRAIN, || most() == 2);
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    drop(agent);
    loki.assert_no_defects();
}

/// Where `journalctl` is slower than lugger, blocks of lines wait for what it is about to print.
#[test]
fn blocks_come_whole_where_journalctl_is_slow() {
    let loki = kept();
    let slow = "> >(while IFS= read -r line; do printf '%s\\n' \"$line\"; ((++n % 300)) || sleep 0.1; done)";
    let (rig, newer, real) = newer_files_by(Rig::new(), "", slow);
    let block = |name: &str, n: usize| -> Vec<String> {
        ["begin", "more", "still more", "end"].iter().map(|part| format!("{part} {name} {n}")).collect()
    };
    let mut want = Vec::new();
    for name in ["system.journal", "user@0005f00000000000-0005f00000000000.journal~"] {
        let blocks: Vec<Vec<String>> = (0..150).map(|n| block(&name[..4], n)).collect();
        write_real(&real, "x.journal", 0, (600, 90), &blocks.concat());
        fs::rename(real.join("x.journal"), real.join(name)).unwrap();
        show_newer(&newer, &real, name);
        want.extend(blocks.iter().map(|block| block.join("\n")));
    }
    let stages = "[ { multiline: { firstline: '^begin', max_wait_time: 1s } } ]";
    let agent = rig.start(&Config::new(&loki.url()).source(source(&newer, "").option("stages", stages)));
    wait_all(&loki, want);
    drop(agent);
    loki.assert_no_defects();
}

/// What is complete and has been read is not read again after a restart; what `journalctl` cannot show is counted, once.
#[test]
fn complete_files_of_a_newer_format_are_done_with() {
    let loki = kept();
    let rig = Rig::new();
    let calls = rig.path().join("calls");
    // It fails in the midst of one of them, and shows less of another one than there is.
    let before = format!(
        "echo \"$*\" >>{}\ncase \"$*\" in */broken*) exec 3>&1; /usr/bin/journalctl \"${{@//\\/newer\\//\\/real\\/}}\" | \
         sed '/MESSAGE=broken4/,$d' >&3; exit 3;; */short*) set -- \"$@\" MESSAGE=short0 MESSAGE=short1 MESSAGE=short2;; esac",
        calls.display()
    );
    let (rig, newer, real) = newer_files_by(rig, &before, "");
    let name = |name: &str| format!("{name}@0005f00000000000-0005f00000000000.journal~");
    for file in ["whole", "broken", "short", "empty"] {
        write_real(&real, "x.journal", 0, (60, 90), &texts(file, 10));
        fs::rename(real.join("x.journal"), real.join(name(file))).unwrap();
        show_newer(&newer, &real, &name(file));
        if file == "empty" {
            let path = newer.join(name(file));
            let mut header = fs::read(&path).unwrap();
            set_number(&mut header, 152, 0);
            fs::write(path, header).unwrap();
        }
    }
    let config = Config::new(&loki.url()).source(source(&newer, ""));
    let mut agent = rig.start(&config);
    let mut want = [texts("whole", 10), texts("broken", 4), texts("short", 3)].concat();
    wait_all(&loki, want.clone());
    wait_until("what is not shown to be counted", DRAIN, || lost(&agent, "unreadable") == 13.0);
    let called = |file: &str| fs::read_to_string(&calls).unwrap().lines().filter(|line| line.contains(file)).count();
    assert_eq!(["whole", "broken", "short", "empty"].map(called), [1, 5, 1, 0], "{}", agent.stderr());
    assert_eq!(agent.stderr().matches("is passed over").count(), 2, "{}", agent.stderr());
    for kill in [true, false] {
        if kill {
            wait_until("all to be stored", DRAIN, || agent.metric("lugger_source_lag_bytes") == Some(0.0));
            agent.kill();
        } else {
            assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
        }
        agent = rig.start(&config);
        let more = format!("more {kill}");
        write_real(&real, "system.journal", 0, (if kill { 9 } else { 3 }, 150), std::slice::from_ref(&more));
        show_newer(&newer, &real, "system.journal");
        want.push(more);
        wait_all(&loki, want.clone());
        assert_eq!(["whole", "broken", "short", "empty"].map(called), [1, 5, 1, 0], "{}", agent.stderr());
        assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    }
    drop(agent);
    loki.assert_no_defects();
}

/// An entry that was taken in under other settings has the fields that the new ones are about.
#[test]
fn entries_of_a_newer_format_have_all_fields_after_a_reload() {
    let loki = kept();
    let (rig, newer, real) = newer_files(Rig::new());
    write_real(&real, "system.journal", 0, (60, 90), &texts("line", 40));
    show_newer(&newer, &real, "system.journal");
    let config = |source: FileSource| Config::new(&loki.url()).source(source);
    let agent = rig.start(&config(source(&newer, "").rate("{ lines: 2, burst: 1s }")));
    wait_until("some lines", DRAIN, || loki.lines().len() >= 3);
    rig.change(&agent, &config(source(&newer, ", json: true")));
    let _ = holds_within(DRAIN, || loki.lines().len() >= 40);
    let json: Vec<String> = loki.lines().into_iter().filter(|line| line.starts_with('{')).collect();
    assert!(json.len() > 20);
    for line in &json {
        assert!(line.contains("\"PRIORITY\":\"6\""), "{line}");
    }
    assert_eq!(loki.lines().len(), 40, "{:?}", loki.lines());
    drop(agent);
    loki.assert_no_defects();
}
