//! Bad input to the real binary: each ends in a clear error or in a counted and visible repair; never in an exit or a hang.

mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig, names};
use support::loki::{Loki, Options};
use support::wait::{settles, wait_until};
use support::writer::append_to;

const SOON: Duration = Duration::from_secs(30);
/// For a GiB through a debug build.
const LONG: Duration = Duration::from_secs(240);
const MEMORY: u64 = 64 * 1024 * 1024;
const GIB: u64 = 1 << 30;

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

fn config(loki: &Loki, rig: &Rig) -> Config {
    Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")))
}

#[track_caller]
fn wait_counted(agent: &Agent, name: &str) {
    wait_until(name, SOON, || agent.metric(name).is_some_and(|value| value >= 1.0));
}

/// The agent still follows a good file: the proof that nothing hangs.
#[track_caller]
fn assert_alive(loki: &Loki, rig: &Rig, deadline: Duration) {
    append_to(&rig.log("good.log"), "still here\n");
    loki.wait_for("a line of the good file", deadline, |line| line == "still here");
    loki.assert_no_defects();
}

/// The head of a line that may be long, for messages.
fn shown(line: &str) -> String {
    format!("{:?}, {} bytes", line.chars().take(100).collect::<String>(), line.len())
}

/// A line that ends in "after" and begins with a visible mark in place of NUL bytes.
#[track_caller]
fn assert_marked(line: &str) {
    assert!(line.len() > "after".len(), "no mark in {}", shown(line));
    assert!(!line.contains('\0'), "NUL bytes in {}", shown(line));
}

/// A file without the right to read it is reported by name, counted, and read once the right is there; its neighbour is not held up.
#[test]
fn row_17_an_unreadable_file_is_reported_and_read_once_it_can_be() {
    let loki = keeping();
    let rig = Rig::unprivileged();
    let bad = rig.log("secret.log");
    append_to(&bad, "hidden\n");
    fs::set_permissions(&bad, Permissions::from_mode(0o000)).unwrap();
    append_to(&rig.log("good.log"), "good\n");
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the good file", SOON, |line| line == "good");
    wait_counted(&agent, names::FILE_ERRORS);
    wait_until("a message that names the file", SOON, || agent.stderr().contains("secret.log"));
    assert!(agent.stderr().to_lowercase().contains("permission denied"), "the missing right is named");
    fs::set_permissions(&bad, Permissions::from_mode(0o644)).unwrap();
    loki.wait_for("the file that became readable", Duration::from_secs(90), |line| line == "hidden");
    assert_alive(&loki, &rig, SOON);
}

/// A directory that may not be entered does not hide the others.
#[test]
fn an_unreadable_directory_is_reported() {
    let loki = keeping();
    let rig = Rig::unprivileged();
    for name in ["closed", "open"] {
        fs::create_dir(rig.log(name)).unwrap();
        append_to(&rig.log(name).join("a.log"), format!("{name}\n"));
    }
    fs::set_permissions(rig.log("closed"), Permissions::from_mode(0o000)).unwrap();
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("**/*.log")));
    let agent = rig.start(&config);
    loki.wait_for("the open directory", SOON, |line| line == "open");
    wait_until("a message that names the directory", SOON, || agent.stderr().contains("closed"));
    fs::set_permissions(rig.log("closed"), Permissions::from_mode(0o755)).unwrap();
    loki.wait_for("the directory that became readable", Duration::from_secs(90), |line| line == "closed");
}

/// A directory that can no longer be listed, while its files can still be read: they are not taken for gone.
#[test]
fn files_in_a_directory_that_cannot_be_listed_are_kept() {
    let loki = keeping();
    let rig = Rig::unprivileged();
    let dir = rig.log("dir");
    fs::create_dir(&dir).unwrap();
    append_to(&dir.join("a.log"), "before\n");
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("**/*.log")));
    let agent = rig.start(&config);
    loki.wait_for("the first line", SOON, |line| line == "before");
    fs::set_permissions(&dir, Permissions::from_mode(0o311)).unwrap();
    wait_until("a message that names the directory", SOON, || agent.stderr().contains("cannot list"));
    // A file that is taken for gone would be let go with the next look at unfinished things, a second later.
    settles(Duration::from_secs(3), SOON, || loki.totals().entries);
    append_to(&dir.join("a.log"), "after\n");
    loki.wait_for("the line after", SOON, |line| line == "after");
    assert_eq!(loki.lines(), ["before", "after"]);
}

/// A directory where a file is expected, and things that are no files at all (a FIFO would block whoever opens it).
#[test]
fn directories_and_pipes_in_place_of_files_do_no_harm() {
    let loki = keeping();
    let rig = Rig::new();
    fs::create_dir(rig.log("directory.log")).unwrap();
    let made = Command::new("mkfifo").arg(rig.log("pipe.log")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(rig.log("socket.log")).unwrap();
    symlink("/dev/zero", rig.log("zero.log")).unwrap();
    symlink(rig.log("loop.log"), rig.log("loop.log")).unwrap();
    let agent = rig.start(&config(&loki, &rig));
    assert_alive(&loki, &rig, SOON);
    // The directory goes, a file takes its name.
    fs::remove_dir(rig.log("directory.log")).unwrap();
    append_to(&rig.log("directory.log"), "a file now\n");
    loki.wait_for("the file in place of the directory", SOON, |line| line == "a file now");
    drop(agent);
}

/// A symbolic link to nothing is no error; when its target appears it is read.
#[test]
fn a_dangling_link_is_followed_once_it_has_a_target() {
    let loki = keeping();
    let rig = Rig::new();
    let target = rig.path().join("elsewhere.txt");
    symlink(&target, rig.log("link.log")).unwrap();
    let agent = rig.start(&config(&loki, &rig));
    assert_alive(&loki, &rig, SOON);
    append_to(&target, "healed\n");
    loki.wait_for("the link's target", SOON, |line| line == "healed");
    drop(agent);
}

/// Noise with every byte value: whatever arrives is valid, and the line after it is whole.
#[test]
fn binary_content_passes_as_valid_text() {
    let loki = keeping();
    let rig = Rig::new();
    let mut state = 1u64;
    let bytes: Vec<u8> = (0..300_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    append_to(&rig.log("binary.log"), &bytes);
    append_to(&rig.log("binary.log"), "\nafter the noise\n");
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the line after the noise", SOON, |line| line == "after the noise");
    wait_counted(&agent, names::INVALID_UTF8);
    assert_alive(&loki, &rig, SOON);
}

/// Bytes that are not UTF-8 become U+FFFD, and are counted; the rest of the line is as it was.
#[test]
fn row_20_what_is_not_utf8_is_replaced_and_counted() {
    let loki = keeping();
    let rig = Rig::new();
    append_to(&rig.log("latin.log"), b"caf\xe9 cr\xe8me\nplain\n");
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the repaired line", SOON, |line| line == "caf\u{fffd} cr\u{fffd}me");
    loki.wait_for("the line after it", SOON, |line| line == "plain");
    wait_counted(&agent, names::INVALID_UTF8);
    assert_alive(&loki, &rig, SOON);
}

/// A run of NUL bytes, as a crashed machine leaves it, is replaced by a visible mark and counted.
#[test]
fn a_run_of_nul_bytes_becomes_a_mark() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("crashed.log");
    append_to(&path, "before\n");
    append_to(&path, vec![0; 4096]);
    append_to(&path, "after\n");
    let agent = rig.start(&config(&loki, &rig));
    let kept = loki.wait_for("the line after the NUL bytes", SOON, |line| line.ends_with("after"));
    assert_marked(&kept.line);
    wait_counted(&agent, names::NUL_RUNS);
    assert_alive(&loki, &rig, SOON);
}

/// A hole of 1 GiB before a line takes neither memory nor for ever.
#[test]
fn row_11_a_hole_of_one_gib_takes_no_memory() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("sparse.log");
    append_to(&path, "before\n");
    File::options().write(true).open(&path).unwrap().set_len(GIB).unwrap();
    append_to(&path, "after\n");
    let agent = rig.start(&config(&loki, &rig));
    let kept = loki.wait_for("the line after the hole", LONG, |line| line.ends_with("after"));
    assert_marked(&kept.line);
    wait_counted(&agent, names::NUL_RUNS);
    let (_, peak) = agent.memory();
    assert!(peak <= MEMORY, "{peak} bytes resident at the peak");
    assert_alive(&loki, &rig, SOON);
}

/// A line of 1 GiB is cut at the cap with a visible mark, counted, and costs no memory; the line after it is whole.
#[test]
fn row_11_a_line_of_one_gib_is_cut_with_a_mark() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("huge.log");
    let agent = rig.start(&config(&loki, &rig));
    {
        let mut file = File::create(&path).unwrap();
        let block = vec![b'a'; 1 << 20];
        for _ in 0..GIB >> 20 {
            file.write_all(&block).unwrap();
        }
        file.write_all(b"\nafter\n").unwrap();
    }
    loki.wait_for("the line after the long one", LONG, |line| line == "after");
    let lines = loki.lines();
    let long: Vec<&String> = lines.iter().filter(|line| line.starts_with("aaaa")).collect();
    assert_eq!(long.len(), 1, "the long line came in {} pieces", long.len());
    assert!(long[0].len() <= 256 * 1024, "{} bytes", long[0].len());
    assert!(long[0].len() > 200 * 1024, "{} bytes", long[0].len());
    assert!(long[0].bytes().any(|byte| byte != b'a'), "there is no mark");
    wait_counted(&agent, names::TRUNCATED);
    let (_, peak) = agent.memory();
    assert!(peak <= MEMORY, "{peak} bytes resident at the peak");
    assert_alive(&loki, &rig, SOON);
}

/// A line of exactly the cap passes whole; one byte more is cut.
#[test]
fn the_cap_is_exact() {
    let loki = keeping();
    let rig = Rig::new();
    let config = config(&loki, &rig).limit("line", "1KiB");
    append_to(&rig.log("a.log"), format!("{}\n{}\nend\n", "x".repeat(1024), "y".repeat(1025)));
    let agent = rig.start(&config);
    loki.wait_for("the last line", SOON, |line| line == "end");
    let lines = loki.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "x".repeat(1024));
    assert!(
        lines[1].starts_with("yyy") && lines[1].len() <= 1024 && lines[1] != "y".repeat(1024),
        "{}",
        shown(&lines[1])
    );
    wait_counted(&agent, names::TRUNCATED);
}

/// Empty lines and carriage returns: no request without entries, and nothing that Loki refuses.
#[test]
fn empty_lines_do_no_harm() {
    let loki = keeping();
    let rig = Rig::new();
    append_to(&rig.log("a.log"), "\n\n\r\none\r\n\ntwo\n\n");
    append_to(&rig.log("empty.log"), "");
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the last line", SOON, |line| line == "two");
    assert_alive(&loki, &rig, SOON);
    drop(agent);
}

/// All regular files below a directory, with their content.
fn files_below(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, bytes));
        }
    }
    found
}

/// Runs once, damages everything in the state directory, and starts again. `reported`: whether the damage must be noticed.
#[track_caller]
fn damaged_state(damage: impl Fn(&[u8]) -> Vec<u8>, reported: bool) {
    let loki = keeping();
    let rig = Rig::new();
    append_to(&rig.log("a.log"), "one\ntwo\n");
    let mut agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the first lines", SOON, |line| line == "two");
    assert_eq!(agent.stop(Duration::from_secs(6)).code, Some(0));
    let before = agent.stderr().len();
    let mut damaged = Vec::new();
    for (path, bytes) in files_below(&rig.state()) {
        let bad = damage(&bytes);
        fs::write(&path, &bad).unwrap();
        if !bytes.is_empty() {
            damaged.push(bad);
        }
    }
    assert!(!damaged.is_empty(), "the state directory has no content to damage");
    let agent = rig.start(&config(&loki, &rig));
    append_to(&rig.log("a.log"), "three\n");
    loki.wait_for("a line after the damage", SOON, |line| line == "three");
    assert_alive(&loki, &rig, SOON);
    if reported {
        let text = agent.stderr();
        assert!(text[before..].to_lowercase().contains("checkpoint"), "the damage is not reported");
        let now = files_below(&rig.state());
        let aside = now.iter().any(|(_, bytes)| damaged.contains(bytes));
        let shown: Vec<&PathBuf> = now.iter().map(|(path, _)| path).collect();
        assert!(aside, "no damaged file was set aside: {shown:?}");
    }
}

/// Checkpoints that are all NUL after a power loss are set aside and reported; the agent runs on.
#[test]
fn row_19_checkpoints_of_nul_bytes_are_set_aside() {
    damaged_state(|bytes| vec![0; bytes.len()], true);
}

/// So are checkpoints with random content.
#[test]
fn checkpoints_of_noise_are_set_aside() {
    damaged_state(
        |bytes| bytes.iter().enumerate().map(|(i, b)| b.wrapping_mul(31).wrapping_add(i as u8) ^ 0x5a).collect(),
        true,
    );
}

/// And checkpoints that end in the middle do no harm.
#[test]
fn truncated_checkpoints_do_no_harm() {
    damaged_state(|bytes| bytes[..bytes.len() / 2].to_vec(), false);
    damaged_state(|_| Vec::new(), false);
}

/// A state directory that cannot be written is an error at the start that names the directory, and not a silent loss of place.
#[test]
fn a_state_directory_without_write_access_is_a_clear_error() {
    let loki = keeping();
    let rig = Rig::unprivileged();
    let closed = rig.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    append_to(&rig.log("a.log"), "one\n");
    let mut agent = rig.spawn(&config(&loki, &rig).state_dir(&closed));
    let exit = agent.wait_exit(SOON);
    assert!(exit.code.is_some_and(|code| code != 0 && code != 101), "{exit:?}");
    assert!(agent.stderr().contains("closed"), "the message does not name the directory");
    // A file in place of the directory.
    let file = rig.path().join("file");
    fs::write(&file, "").unwrap();
    let mut agent = rig.spawn(&config(&loki, &rig).state_dir(&file));
    let exit = agent.wait_exit(SOON);
    assert!(exit.code.is_some_and(|code| code != 0 && code != 101), "{exit:?}");
}

/// Runs a subcommand on a configuration text; exit code and all that was written.
fn lugger(directory: &Path, subcommand: &str, text: &[u8]) -> (Option<i32>, String) {
    let file = directory.join("agent.yaml");
    fs::write(&file, text).unwrap();
    run(&[subcommand, "--config", &file.display().to_string()])
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lugger")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Each row: a bad configuration, and what the report must contain. `check` and `run` refuse it alike.
#[test]
fn row_30_bad_configurations_are_refused_with_their_place() {
    let good = "loki:\n  - url: http://127.0.0.1:1/loki/api/v1/push\nlogs:\n  - file: { include: [/tmp/x.log] }\n";
    let rows: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        ("malformed YAML", b"loki:\n  - url: [\nlogs".to_vec(), vec!["agent.yaml:"]),
        ("unknown key", format!("{good}lables: {{ a: b }}\n").into(), vec!["agent.yaml:5:1", "lables", "labels"]),
        ("wrong type", format!("{good}limits: {{ memory: [1] }}\n").into(), vec!["agent.yaml:5:", "memory"]),
        ("bad size", format!("{good}limits: {{ memory: many }}\n").into(), vec!["agent.yaml:5:", "many"]),
        ("bad label", format!("{good}labels: {{ \"1a\": b }}\n").into(), vec!["agent.yaml:5:", "1a"]),
        (
            "equal keys",
            format!("{good}labels: {{ a: b }}\nlabels: {{ c: d }}\n").into(),
            vec!["agent.yaml:6:", "labels"],
        ),
        ("not UTF-8", [good.as_bytes(), b"labels: { a: \"\xff\" }\n"].concat(), vec!["agent.yaml"]),
        ("NUL bytes", vec![0; 64], vec!["agent.yaml"]),
        ("empty", Vec::new(), vec!["agent.yaml"]),
        (
            "two errors",
            format!("{good}lables: {{}}\nlimits: {{ memori: 1MiB }}\n").into(),
            vec!["lables", "memori", "memory"],
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (name, text, wanted) in rows {
        for subcommand in ["check", "run"] {
            let (code, output) = lugger(directory.path(), subcommand, &text);
            assert!(code.is_some_and(|code| code != 0 && code != 101), "{name}, {subcommand}: {code:?}\n{output}");
            for word in &wanted {
                assert!(output.contains(word), "{name}, {subcommand}: no {word:?} in\n{output}");
            }
        }
    }
    let (code, output) = lugger(directory.path(), "check", good.as_bytes());
    assert_eq!(code, Some(0), "{output}");
}

/// A configuration that is not there, or is a directory.
#[test]
fn a_missing_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.yaml").display().to_string();
    for subcommand in ["check", "run"] {
        for path in [missing.as_str(), &directory.path().display().to_string()] {
            let (code, output) = run(&[subcommand, "--config", path]);
            assert!(code.is_some_and(|code| code != 0 && code != 101), "{code:?} {output}");
            assert!(output.contains(path), "{output}");
        }
    }
}
