//! What can be wrong with the file itself.

use crate::{SHORTEST, good, load};
use lugger::config;
use std::fs;
use std::path::Path;

/// The report of the file at `path`, which is called `FILE` in it.
fn report(path: &Path) -> String {
    match config::load(path) {
        Ok(_) => panic!("no error was found"),
        Err(report) => report.to_string().replace(path.to_str().unwrap(), "FILE"),
    }
}

fn report_of(content: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.yaml");
    fs::write(&path, content).unwrap();
    report(&path)
}

#[test]
fn missing_files_and_dangling_links() {
    let expected = "FILE: the configuration cannot be read: there is no such file\n\
                    help: name another file with --config, or begin with a copy of agent.example.yaml";
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(report(&directory.path().join("missing.yaml")), expected);
    let link = directory.path().join("link.yaml");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert_eq!(report(&link), expected);
}

#[test]
fn unreadable_files() {
    // A file's mode means nothing to root, and tests may run as root; a link to itself is unreadable to everybody.
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link.yaml");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let report = report(&link);
    assert!(report.starts_with("FILE: the configuration cannot be read: "), "{report}");
    assert!(report.ends_with("\nhelp: name another file with --config"), "{report}");
}

#[test]
fn a_directory() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        report(directory.path()),
        "FILE: this is a directory, not a configuration file\nhelp: name the file in it, such as FILE/agent.yaml"
    );
}

#[test]
fn empty_files() {
    assert_eq!(
        report_of(b""),
        "FILE:1:1: the configuration is empty\n  1 | \n    | ^\n\
         help: it needs at least `loki`, where logs go, and `logs`, where they come from"
    );
}

#[test]
fn binary_content() {
    assert_eq!(
        report_of(b"a: b\n\x7fELF\0\0"),
        "FILE:2:1: the character U+007F does not belong into a text file\n  2 | \u{fffd}ELF\u{fffd}\u{fffd}\n    | ^\n\
         help: is this a configuration? If so, remove the character"
    );
}

#[test]
fn other_encodings() {
    assert_eq!(
        report_of(b"labels: { a: b }\nstate_dir: /srv/gr\xFC\xDFe\n"),
        "FILE:2:19: the byte 0xFC is not UTF-8\n  2 | state_dir: /srv/gr\n    |                   ^\n\
         help: save the file as UTF-8"
    );
    assert_eq!(report_of(b"\xFF\xFEa\0"), "FILE:1:1: the file is UTF-16\n  1 | \n    | ^\nhelp: save it as UTF-8");
}

#[test]
fn huge_files() {
    assert_eq!(
        report_of("# x\n".repeat(1024 * 1024 + 1).as_bytes()),
        "FILE: the file is larger than 4MiB: this is not a configuration\nhelp: name another file with --config"
    );
}

#[test]
fn windows_line_ends_and_byte_order_marks_are_taken() {
    let text = "\u{feff}loki:\r\n  - url: http://localhost\r\nlogs:\r\n  - file: { include: /x/*.log }\r\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.yaml");
    fs::write(&path, text).unwrap();
    let plan = config::load(&path).unwrap();
    assert_eq!(plan.loki[0].url, "http://localhost/loki/api/v1/push");
    assert_eq!(
        report_of(text.replace("url", "ulr").as_bytes()),
        "FILE:2:5: unknown key \"ulr\"\n  2 |   - ulr: http://localhost\n    |     ^^^\nhelp: did you mean \"url\"?"
    );
}

#[test]
fn positions_of_another_agent_are_read_with_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("positions.yaml");
    let text = |written: &str| format!("{SHORTEST}import_positions: {written}\n");
    // One that is not there may be gone since it was taken over.
    assert_eq!(good(&text(path.to_str().unwrap())).plan.imports, []);
    std::fs::write(&path, "positions:\n  /x.log: \"12\"\n  cursor-a: s\n").unwrap();
    let imports = good(&text(&format!("[{}]", path.display()))).plan.imports;
    assert_eq!((imports.len(), imports[0].others), (1, 1));
    assert_eq!(imports[0].files, [("/x.log".into(), 12)]);
    std::fs::write(&path, "nothing\n").unwrap();
    let report = load(&text(path.to_str().unwrap())).expect_err("no positions").to_string();
    assert!(report.contains("agent.yaml:3:19: these positions cannot be read: line 1:"), "{report}");
    let report = load(&text("positions.yaml")).expect_err("relative").to_string();
    assert!(report.contains("this path is not absolute"), "{report}");
}
