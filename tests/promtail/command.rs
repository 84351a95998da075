//! `lugger convert` and `lugger check` as commands.

use std::process::{Command, Output};

fn lugger(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lugger"));
    command.args(arguments).env("HOSTNAME", "myhost").output().unwrap()
}

#[test]
fn the_native_form_goes_to_stdout_and_what_is_said_to_stderr() {
    let output = lugger(&["convert", "tests/promtail/files/docker_files.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = |name: &str| std::fs::read_to_string(format!("tests/promtail/native/{name}")).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected("docker_files.yaml"));
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), expected("docker_files.report").trim_end());
}

#[test]
fn a_file_of_lugger_has_nothing_to_convert() {
    let output = lugger(&["convert", "tests/promtail/native/first_steps.yaml"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("this is not a Promtail file but one of lugger"), "{words}");
}

#[test]
fn a_promtail_file_has_no_recipes_to_write_out() {
    let output = lugger(&["convert", "--expand", "tests/promtail/files/first_steps.yaml"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("which has no recipes") && words.contains("without --expand"), "{words}");
}

#[test]
fn check_shows_no_key_of_a_url() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "loki: [{ url: 'https://loki/loki/api/v1/push?token=hunter2' }]\nlogs: [{ file: { include: /nowhere/x.log } }]\n";
    std::fs::write(file.path(), text).unwrap();
    let output = lugger(&["check", "--config", file.path().to_str().unwrap()]);
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.contains("https://loki/loki/api/v1/push\n") && !words.contains("hunter2"), "{words}");
}

#[test]
fn check_says_what_would_run_of_a_promtail_file() {
    let output = lugger(&["check", "--config", "tests/promtail/files/journal_and_files.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    // How many files there are now is up to the host.
    assert!(words.contains("2 sources\n  auth (file): /var/log/auth.log, "), "{words}");
    let expected = " now, to 127.0.0.1, through 2 stages\n  journal (journal): /var/log/journal to 127.0.0.1";
    assert!(words.contains(expected), "{words}");
}
