//! `output`: an extracted key becomes the entry's text.
//!
//! ```yaml
//! - output: { source: message }
//! ```

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Output {
    pub(in crate::pipeline) source: Key,
}

impl Stage for Output {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        if let Some(value) = entry.extracted(self.source) {
            entry.line = value;
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    #[test]
    fn the_key_becomes_the_text_if_it_is_there() {
        let mut stage = Output { source: Key(0) };
        let text = |entry: &Entry<'_>| entry.line_text().to_owned();
        assert_eq!(once(&mut stage, "old", &[(Key(0), "new")], text), (Flow::Next, "new".to_owned()));
        assert_eq!(once(&mut stage, "old", &[(Key(0), "")], text).1, "");
        assert_eq!(once(&mut stage, "old", &[(Key(1), "new")], text).1, "old");
    }
}
