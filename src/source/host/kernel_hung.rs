//! `kernel_hung`: tasks that hung, as the kernel saw. From /proc/sys/kernel/hung_task_detect_count (the kernel's Documentation/admin-guide/sysctl/kernel).

use super::files::{Buffer, File, trim, unsigned};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct KernelHung {
    file: File,
    buffer: Buffer,
}

impl KernelHung {
    pub(super) fn new(settings: &Settings) -> KernelHung {
        let file = File::new(settings.roots.proc("sys/kernel/hung_task_detect_count"));
        KernelHung { file, buffer: Buffer::default() }
    }
}

impl Collector for KernelHung {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let tasks = unsigned(trim(self.file.needed(&mut self.buffer)?));
        let tasks = tasks.ok_or_else(|| Fail::malformed(self.file.path(), "a number is expected"))?;
        out.one("node_kernel_hung_tasks_total", "Tasks that hung since the start.", Kind::Counter, tasks as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn a_number_or_none() {
        let tree = Tree::new("proc/sys/kernel/hung_task_detect_count: 3");
        let mut hung = KernelHung::new(&tree.settings());
        assert_text(&told(&mut hung), "# node_kernel_hung_tasks_total counter\nnode_kernel_hung_tasks_total 3");
        tree.write("proc/sys/kernel/hung_task_detect_count", "\n");
        assert!(matches!(failed(&mut hung).1, Fail::Error(_)));
        tree.remove("proc/sys");
        assert!(matches!(failed(&mut KernelHung::new(&tree.settings())).1, Fail::NoData));
    }
}
