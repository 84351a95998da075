//! `uname`: which kernel runs on which host, as uname(2) says.

use super::{Collector, Fail};
use crate::model::samples::{Kind, Samples};

pub(super) struct Uname;

impl Collector for Uname {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let uname = rustix::system::uname();
        out.family("node_uname_info", "Which kernel runs on which host.", Kind::Gauge);
        let text = |text: &'_ std::ffi::CStr| text.to_string_lossy().into_owned();
        let labels = [
            ("domainname", text(uname.domainname())),
            ("machine", text(uname.machine())),
            ("nodename", text(uname.nodename())),
            ("release", text(uname.release())),
            ("sysname", text(uname.sysname())),
            ("version", text(uname.version())),
        ];
        out.add(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
        Ok(())
    }
}
