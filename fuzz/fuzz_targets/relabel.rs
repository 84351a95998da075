//! Relabelling: any rule compiles or names a field of its own, what it makes has names that Loki takes, and neither used memory nor the
//! short ways for some expressions change what it does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::pipeline::label_map::LabelMap;
use lugger::pipeline::relabel::{Action, Rules, Settings};

const FIELDS: [&str; 6] = ["source_labels", "separator", "regex", "modulus", "target_label", "replacement"];

type Input<'a> = (u8, u8, u8, &'a str, &'a str, &'a str, &'a str, &'a str);

fuzz_target!(|input: Input<'_>| {
    let (action, defaults, modulus, regex, target, replacement, a, b) = input;
    let given = |bit: u8, text: &str| (defaults & bit == 0).then(|| text.to_owned());
    let settings = Settings {
        action: Action::NAMES[usize::from(action) % Action::NAMES.len()].1,
        source_labels: if defaults & 8 == 0 { vec!["a".to_owned(), "b".to_owned()] } else { vec!["a".to_owned()] },
        separator: given(1, "/"),
        regex: given(2, regex),
        modulus: u64::from(modulus),
        target_label: target.to_owned(),
        replacement: given(4, replacement),
    };
    let rules = match Rules::compile(&[settings.clone()]) {
        Ok(rules) => rules,
        Err(error) => {
            assert!(FIELDS.contains(&error.field), "{error}");
            return;
        }
    };
    let before: LabelMap = [("a", a), ("b", b), ("__meta_c", "c")].into_iter().collect();
    let mut scratch = rules.scratch();
    let mut labels = before.clone();
    let stays = rules.apply(&mut labels, &mut scratch);
    for (name, value) in labels.iter() {
        assert!(!value.is_empty(), "{name:?}");
        assert!(!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()), "{name:?}");
        assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()), "{name:?}");
    }
    let same = |rules: &Rules, scratch: &mut _| {
        let mut again = before.clone();
        assert_eq!(rules.apply(&mut again, scratch), stays);
        assert_eq!(again.iter().collect::<Vec<_>>(), labels.iter().collect::<Vec<_>>());
    };
    same(&rules, &mut scratch);
    // In a group that is not counted it means the same, and is not known as what has a short way.
    let wrapped = format!("(?:{})", settings.regex.as_deref().unwrap_or("(.*)"));
    // Some actions take no expression but the default one.
    if let Ok(long) = Rules::compile(&[Settings { regex: Some(wrapped), ..settings }]) {
        same(&long, &mut long.scratch());
    }
});
