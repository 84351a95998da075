//! Names as numbers: extracted keys and labels are numbered when a pipeline is compiled, so that a line needs no map.
//!
//! Promises: equal names have equal numbers. Leaves to others: what a number stands for at run time.

/// The number of an extracted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub(super) u16);

/// The number of a label that a pipeline may change or look at, or of a key of structured metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(pub(super) u16);

/// The names of one pipeline.
#[derive(Debug, Default)]
pub struct Names {
    keys: Vec<String>,
    labels: Vec<String>,
}

impl Names {
    /// The number of an extracted key. `None`: there are more than 65,535.
    pub fn key(&mut self, name: &str) -> Option<Key> {
        number(&mut self.keys, name).map(Key)
    }

    /// The number of a label. `None`: there are more than 65,535.
    pub fn label(&mut self, name: &str) -> Option<Label> {
        number(&mut self.labels, name).map(Label)
    }

    /// The number of a key that has one.
    pub fn find_key(&self, name: &str) -> Option<Key> {
        find(&self.keys, name).map(Key)
    }

    /// The number of a label that has one.
    pub fn find_label(&self, name: &str) -> Option<Label> {
        find(&self.labels, name).map(Label)
    }

    /// All extracted keys, by number.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// All labels, by number.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The name of a key.
    pub fn key_name(&self, key: Key) -> &str {
        self.keys.get(usize::from(key.0)).map_or("", String::as_str)
    }

    /// The name of a label.
    pub fn label_name(&self, label: Label) -> &str {
        self.labels.get(usize::from(label.0)).map_or("", String::as_str)
    }
}

fn find(names: &[String], name: &str) -> Option<u16> {
    names.iter().position(|known| known == name).and_then(|at| u16::try_from(at).ok())
}

fn number(names: &mut Vec<String>, name: &str) -> Option<u16> {
    if let Some(at) = find(names, name) {
        return Some(at);
    }
    let number = u16::try_from(names.len()).ok()?;
    names.push(name.to_owned());
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_have_equal_numbers() {
        let mut names = Names::default();
        let (a, b) = (names.key("a"), names.key("b"));
        assert_ne!(a, b);
        assert_eq!(names.key("a"), a);
        assert_eq!((names.find_key("b"), names.find_key("c")), (b, None));
        assert_eq!(names.label("a"), Some(Label(0)));
    }
}
