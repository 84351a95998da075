//! `selinux`: whether SELinux is on, and its mode. From selinuxfs at /sys/fs/selinux, /proc/self/attr/current and /etc/selinux/config (selinux(8)).

use super::files::{Buffer, File, lines, text, trim};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Selinux {
    enforce: File,
    context: File,
    config: File,
    buffer: Buffer,
}

impl Selinux {
    pub(super) fn new(settings: &Settings) -> Selinux {
        Selinux {
            enforce: File::new(settings.roots.sys("fs/selinux/enforce")),
            context: File::passing(settings.roots.proc("self/attr/current")),
            config: File::passing(settings.roots.rootfs("/etc/selinux/config")),
            buffer: Buffer::default(),
        }
    }
}

impl Collector for Selinux {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let now = match self.enforce.word(&mut self.buffer) {
            Ok(b"1") => Some(1.0),
            Ok(b"0") => Some(0.0),
            Ok(other) => return Err(Fail::malformed(self.enforce.path(), text(other))),
            Err(_) => None,
        };
        // Without a policy every process has this context.
        let policy = self.context.word(&mut self.buffer) != Ok(b"kernel");
        let now = now.filter(|_| policy);
        out.one("node_selinux_enabled", "Whether SELinux is on.", Kind::Gauge, f64::from(u8::from(now.is_some())));
        if let Some(now) = now {
            let configured = self.config.all(&mut self.buffer).map_or(-1.0, configured);
            let help = "Mode that is configured: 1 enforcing, 0 permissive, -1 disabled.";
            out.one("node_selinux_config_mode", help, Kind::Gauge, configured);
            let help = "Mode now: 1 enforcing, 0 permissive, -1 disabled.";
            out.one("node_selinux_current_mode", help, Kind::Gauge, now);
        }
        Ok(())
    }
}

/// The mode in /etc/selinux/config.
fn configured(config: &[u8]) -> f64 {
    let mode = lines(config).find_map(|line| {
        let (key, mode) = text(trim(line)).split_once('=')?;
        (key.trim_end() == "SELINUX").then(|| mode.trim_start().to_ascii_lowercase())
    });
    match mode.as_deref() {
        Some("enforcing") => 1.0,
        Some("permissive") => 0.0,
        _ => -1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, told};
    use super::*;

    #[test]
    fn on_and_off() {
        let tree = Tree::new("proc/self/attr/current: unconfined");
        let mut selinux = Selinux::new(&tree.settings());
        let off = "# node_selinux_enabled gauge\nnode_selinux_enabled 0";
        assert_text(&told(&mut selinux), off);
        tree.write("sys/fs/selinux/enforce", "1");
        tree.write("root/etc/selinux/config", "# SELINUX=disabled\nSELINUXTYPE=targeted\nSELINUX = permissive\n");
        tree.write("proc/self/attr/current", "system_u:system_r:init_t:s0\0");
        let on = "
            # node_selinux_enabled gauge
            node_selinux_enabled 1
            # node_selinux_config_mode gauge
            node_selinux_config_mode 0
            # node_selinux_current_mode gauge
            node_selinux_current_mode 1";
        assert_text(&told(&mut selinux), on);
        tree.remove("root/etc/selinux/config");
        assert!(told(&mut selinux).contains("node_selinux_config_mode -1\n"));
        tree.write("proc/self/attr/current", "kernel\0");
        assert_text(&told(&mut selinux), off);
    }
}
