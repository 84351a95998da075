//! The house rules that a compiler does not hold: floors, module comments, file sizes, no panics on the way, no banned crates.
//!
//! Each rule is a function from text to findings, and each has a test on made-up text: a rule that finds nothing anywhere
//! would be the easiest one to keep.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors. A module imports only from lower ones; modules on one floor do not import each other.
const FLOORS: [(&str, u8); 15] = [
    ("main", 8),
    ("cli", 8),
    ("web", 7),
    ("demo", 7),
    ("agent", 6),
    ("config", 5),
    ("source", 4),
    ("sink", 4),
    ("pipeline", 3),
    ("store", 3),
    ("format", 2),
    ("model", 1),
    ("base", 0),
    // Roots that name no floor: the crate's own documentation page and the crate by its name.
    ("lib", 9),
    ("lugger", 9),
];

/// `main` and `cli` share a floor and are one thing: the command line.
const ONE_THING: [&str; 2] = ["main", "cli"];

/// Longest file, lines.
const FILE_LINES: usize = 800;

/// Crates that must not come into the tree, and why.
const BANNED_CRATES: [(&str, &str); 8] = [
    ("openssl", "rustls is the TLS; a C library would end the static binary"),
    ("openssl-sys", "see openssl"),
    ("native-tls", "see openssl"),
    ("aws-lc-rs", "ring is the provider: aws-lc costs 2 MB and a long C build"),
    ("aws-lc-sys", "see aws-lc-rs"),
    ("serde_yaml", "archived by its author"),
    ("chrono", "the time formats in use are hand-written; a second time crate is weight"),
    ("async-std", "one runtime: tokio"),
];

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    what: String,
}

fn finding(line: usize, what: impl Into<String>) -> Finding {
    Finding { line, what: what.into() }
}

/// Rust text in which comments, strings and character literals are blanked out, line for line.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |out: &mut String, from: usize, to: usize| {
        out.extend(text[from..to].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    };
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + comment_len(rest)
        } else if let Some(hashes) = raw_string(text, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            at + rest[open..].find(&close).map_or(rest.len(), |found| open + found + close.len())
        } else if rest.starts_with('"') {
            at + quoted_len(rest)
        } else if rest.starts_with('\'') && char_len(rest).is_some() {
            at + char_len(rest).unwrap_or(1)
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        blank(&mut out, at, end);
        at = end;
    }
    out
}

fn comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The number of hashes if a raw string starts at `at`.
fn raw_string(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') {
        return None;
    }
    let rest = text[at..].strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

fn quoted_len(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a character literal; `None` for a lifetime.
fn char_len(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        // The escaped character itself may be a quote.
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// Blanks every item that is compiled for tests only.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        // Up to the end of the block that follows, or of the declaration if there is none.
        let open = rest.find('{').unwrap_or(rest.len());
        let semicolon = rest.find(';').unwrap_or(rest.len());
        let len = if semicolon < open { semicolon + 1 } else { block_end(rest, open) };
        let blank: String = rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..start + len, &blank);
    }
    out
}

fn block_end(text: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return open + at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The modules of the crate's root that are named by `crate::…` or `lugger::…`, with their lines.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for prefix in ["crate::", "lugger::"] {
        for (at, _) in code.match_indices(prefix) {
            let joined = code[..at].chars().next_back();
            if joined.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            found.extend(roots(&code[at + prefix.len()..]).into_iter().map(|root| (line, root)));
        }
    }
    // `super::` that climbs out of a module is caught by depth, see `climbs`.
    found
}

/// First names of a path or of a group of paths: `a::b` is `a`; `{a::b, c::{d, e}}` is `a` and `c`.
fn roots(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut depth = 0;
    let mut start = 0;
    let mut found = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|root| !root.is_empty());
    found
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The module of the crate's root that a file of `src/` belongs to.
fn root_of(file: &Path) -> String {
    let first = file.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    first.strip_suffix(".rs").map(str::to_owned).unwrap_or(first)
}

/// Imports that go up or sideways.
fn check_floors(file: &Path, text: &str) -> Vec<Finding> {
    let module = root_of(file);
    let Some(own) = floor(&module) else {
        return vec![finding(1, format!("module {module} is on no floor"))];
    };
    let code = code_only(text);
    let mut found = Vec::new();
    for (line, root) in imports(&code) {
        if root == module || (ONE_THING.contains(&root.as_str()) && ONE_THING.contains(&module.as_str())) {
            continue;
        }
        match floor(&root) {
            // Items of the crate's own root: macros and the like.
            None => {}
            Some(other) if other < own => {}
            Some(other) if other == own => {
                found.push(finding(line, format!("{module} imports {root}, its neighbour on floor {own}")));
            }
            Some(other) => {
                found.push(finding(line, format!("{module} on floor {own} imports {root} on floor {other}")));
            }
        }
    }
    found.extend(climbs(file, &code));
    found
}

/// `super::super::…` that leaves the module's folder would be an import in disguise.
fn climbs(file: &Path, code: &str) -> Vec<Finding> {
    let is_root_of_folder = file.file_name().is_some_and(|name| name == "mod.rs");
    let depth = file.components().count() - usize::from(is_root_of_folder);
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(at) = rest.find("super::") {
            let mut count = 0;
            let mut tail = &rest[at..];
            while let Some(next) = tail.strip_prefix("super::") {
                count += 1;
                tail = next;
            }
            // One more is allowed: an inline module (tests) begins one level deeper.
            if count > depth {
                found.push(finding(number + 1, "super:: climbs out of the floor; write crate::"));
            }
            rest = tail;
        }
    }
    found
}

/// A file begins with a `//!` comment that says something.
fn check_module_comment(text: &str) -> Vec<Finding> {
    let first = text.lines().next().unwrap_or("");
    match first.strip_prefix("//!") {
        Some(comment) if comment.trim().len() >= 10 && !comment.contains("(floor being built)") => Vec::new(),
        _ => vec![finding(1, "the file does not begin with a //! comment that says what it does")],
    }
}

fn check_size(text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    if lines > FILE_LINES { vec![finding(lines, format!("{lines} lines, more than {FILE_LINES}"))] } else { Vec::new() }
}

/// Nothing that panics outside tests; `anyhow` only where the command line is.
fn check_panics(file: &Path, text: &str) -> Vec<Finding> {
    // A module's tests may be a file of their own beside it, `x_tests.rs` for `x.rs`.
    if file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests")) {
        return Vec::new();
    }
    let code = without_tests(&code_only(text));
    let mut words = vec![
        ".unwrap()",
        ".expect(",
        ".unwrap_err()",
        ".expect_err(",
        "panic!",
        "todo!",
        "unimplemented!",
        "unreachable!",
        "dbg!",
    ];
    if !ONE_THING.contains(&root_of(file).as_str()) {
        words.push("anyhow");
    }
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in &words {
            let hit = line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                word.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            });
            if hit {
                found.push(finding(number + 1, format!("{word} outside tests")));
            }
        }
    }
    found
}

/// Marks of unfinished work, and tests that do not run. The words are put together so that this file does not find itself.
fn check_unfinished(text: &str) -> Vec<Finding> {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat(), ["#[ig", "nore"].concat()];
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in &words {
            let hit = line.match_indices(word.as_str()).any(|(at, _)| {
                let around = [line[..at].chars().next_back(), line[at + word.len()..].chars().next()];
                !around.into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_')
            });
            if hit {
                found.push(finding(number + 1, format!("{word} is a promise; keep it or leave it out")));
            }
        }
    }
    found
}

/// Every `unsafe` has its proof in the lines above it.
fn check_unsafe(text: &str) -> Vec<Finding> {
    let code = code_only(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let says = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe");
        let above = &lines[number.saturating_sub(6)..number];
        if says && !above.iter().any(|line| line.contains("// SAFETY:")) {
            found.push(finding(number + 1, "unsafe without a // SAFETY: comment above it"));
        }
    }
    found
}

/// Names of the packages in a `Cargo.lock`.
fn packages(lock: &str) -> Vec<&str> {
    lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect()
}

fn check_packages(lock: &str) -> Vec<Finding> {
    let names = packages(lock);
    BANNED_CRATES
        .iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, why)| finding(1, format!("{name} is in the tree: {why}")))
        .collect()
}

/// What stands in code fences and backquotes of a README and is a command of this project.
fn commands(readme: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in readme.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let spans: Vec<&str> = if fenced { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for span in spans {
            let span = span.trim().trim_start_matches("$ ").split(" #").next().unwrap_or("").trim();
            if ["cargo ", "tests/", "./tests/", "lugger "].iter().any(|start| span.starts_with(start)) {
                found.push(span.to_owned());
            }
        }
    }
    found
}

/// A command of the README that cannot exist: a script or an example that is not there.
fn check_command(root: &Path, command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let first = words.first()?.trim_start_matches("./");
    if first.starts_with("tests/") {
        return (!root.join(first).is_file()).then(|| format!("{command}: there is no {first}"));
    }
    let value_of = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1));
    if let Some(example) = value_of("--example") {
        let file = format!("examples/{example}.rs");
        return (!root.join(&file).is_file()).then(|| format!("{command}: there is no {file}"));
    }
    if let Some(test) = value_of("--test") {
        let file = format!("tests/{test}.rs");
        return (!root.join(&file).is_file()).then(|| format!("{command}: there is no {file}"));
    }
    None
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder of the project, relative to that folder, with their text.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let top = root().join(folder);
    let mut todo = vec![top.clone()];
    let mut found = Vec::new();
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&top).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn assert_tidy(folder: &str, rule: impl Fn(&Path, &str) -> Vec<Finding>) {
    let mut report = Vec::new();
    for (file, text) in rust_files(folder) {
        for found in rule(&file, &text) {
            report.push(format!("{folder}/{}:{}: {}", file.display(), found.line, found.what));
        }
    }
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn imports_go_down_only() {
    assert_tidy("src", check_floors);
}

#[test]
fn files_begin_with_what_they_do() {
    for folder in ["src", "tests", "examples"] {
        assert_tidy(folder, |_, text| check_module_comment(text));
    }
}

#[test]
fn files_are_short() {
    for folder in ["src", "tests", "examples"] {
        assert_tidy(folder, |_, text| check_size(text));
    }
}

#[test]
fn nothing_panics_outside_tests() {
    assert_tidy("src", check_panics);
}

#[test]
fn nothing_is_left_unfinished() {
    for folder in ["src", "tests", "examples"] {
        assert_tidy(folder, |_, text| check_unfinished(text));
    }
}

#[test]
fn unsafe_is_proved() {
    for folder in ["src", "tests", "examples"] {
        assert_tidy(folder, |_, text| check_unsafe(text));
    }
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert_eq!(check_packages(&lock), []);
}

#[test]
fn readme_names_only_what_exists() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README.md at the top");
    let commands = commands(&readme);
    for wanted in ["cargo run --release -- demo", "tests/run"] {
        assert!(commands.iter().any(|command| command == wanted), "README does not show `{wanted}`: {commands:#?}");
    }
    let missing: Vec<String> = commands.iter().filter_map(|command| check_command(&root(), command)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// The rules themselves, tried on made-up text.
mod rules {
    use super::*;

    fn whats(found: &[Finding]) -> Vec<&str> {
        found.iter().map(|f| f.what.as_str()).collect()
    }

    #[test]
    fn floors() {
        let check = |file: &str, text: &str| check_floors(Path::new(file), text);
        assert!(check("agent/mod.rs", "use crate::sink::x;\nuse crate::base::{clock, limits};").is_empty());
        assert!(check("sink/loki.rs", "use crate::sink::settings;\nuse super::settings;").is_empty());
        assert!(check("main.rs", "fn main() { lugger::cli::main() }").is_empty());
        assert!(check("base/wake.rs", "// crate::cli is far above\nlet a = \"crate::cli\";").is_empty());
        assert_eq!(
            check("sink/loki.rs", "\nuse crate::source::file;"),
            [finding(2, "sink imports source, its neighbour on floor 4")]
        );
        assert_eq!(
            whats(&check("base/clock.rs", "use crate::{base::x, model::{a, b}};")),
            ["base on floor 0 imports model on floor 1"]
        );
        assert_eq!(check("model/a.rs", "fn f() -> crate::agent::X {}").len(), 1);
        assert_eq!(check("model/a.rs", "use crate::{\n  base::x,\n  config,\n};").len(), 1);
        assert_eq!(whats(&check("odd/mod.rs", "")), ["module odd is on no floor"]);
        assert_eq!(check("sink/loki.rs", "use super::super::source::x;").len(), 0, "one level of slack");
        assert_eq!(check("sink/loki.rs", "use super::super::super::source::x;").len(), 1);
    }

    #[test]
    fn module_comments_and_sizes() {
        assert!(check_module_comment("//! What this does.\n").is_empty());
        for bad in ["", "use x;", "// What this does.", "//!", "//! (floor being built)"] {
            assert_eq!(check_module_comment(bad).len(), 1, "{bad}");
        }
        assert!(check_size(&"x\n".repeat(800)).is_empty());
        assert_eq!(check_size(&"x\n".repeat(801)).len(), 1);
    }

    #[test]
    fn panics() {
        let check = |text: &str| check_panics(Path::new("sink/a.rs"), text);
        let tests = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { x.unwrap(); { panic!() } }\n}\n";
        assert!(check(tests).is_empty());
        assert_eq!(check(&format!("{tests}fn c() {{ x.unwrap(); }}")), [finding(6, ".unwrap() outside tests")]);
        assert!(check("// x.unwrap()\nlet a = \".expect( panic!\"; x.unwrap_or(1); let b = r#\"todo! \"#;").is_empty());
        assert!(check("#[cfg(test)]\nmod tests;\n").is_empty());
        assert!(check("let quote = '\"'; let life: &'static str = x; let other = '\\'';").is_empty());
        assert_eq!(check("let quote = '\"'; x.expect(\"y\");").len(), 1);
        assert_eq!(check("anyhow::bail!(1)").len(), 1);
        assert!(check_panics(Path::new("cli/run.rs"), "anyhow::bail!(1)").is_empty());
        assert!(check("core_panic!()").is_empty());
        assert_eq!(check("/* a /* b */ c.unwrap() */ todo!()").len(), 1);
    }

    #[test]
    fn unfinished_work_and_unsafe() {
        let word = ["TO", "DO"].concat();
        assert_eq!(check_unfinished(&format!("// {word}: later")).len(), 1);
        assert!(check_unfinished(&format!("let {word}S = 1;")).is_empty());
        assert_eq!(check_unfinished(&["#[ig", "nore]"].concat()).len(), 1);
        assert_eq!(check_unsafe("fn a() {\n    unsafe { b() }\n}").len(), 1);
        assert!(check_unsafe("// SAFETY: b has no preconditions.\nunsafe { b() }").is_empty());
        assert!(check_unsafe("// unsafe is a word\nlet unsafely = 1;").is_empty());
    }

    #[test]
    fn banned_crates() {
        let lock = "[[package]]\nname = \"openssl\"\nversion = \"1\"\n[[package]]\nname = \"serde\"\n";
        assert_eq!(check_packages(lock).len(), 1);
        assert!(check_packages("name = \"serde\"\n").is_empty());
    }

    #[test]
    fn readme_commands() {
        let text = "Run `tests/run` or `x`.\n```sh\n$ cargo run --example nope  # slow\nls\n```\n";
        assert_eq!(commands(text), ["tests/run", "cargo run --example nope"]);
        assert!(check_command(&root(), "cargo run --example nope").is_some());
        assert!(check_command(&root(), "tests/nope").is_some());
        assert!(check_command(&root(), "cargo test --test nope").is_some());
        assert!(check_command(&root(), "cargo build --release").is_none());
    }
}
