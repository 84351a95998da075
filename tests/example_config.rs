//! The example configuration at the top is one that the program accepts.

use std::process::Command;

/// `lugger check` has nothing to say against `agent.example.yaml`.
#[test]
fn the_example_configuration_is_accepted() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.example.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_lugger")).args(["check", "--config", file]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
}
