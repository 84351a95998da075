//! The labels that a message gives, under Promtail's names, for relabelling.
//!
//! Promises: names are valid label names; nothing is allocated. Leaves to others: whether labels of structured data are wanted, those of the
//! connection.

use super::{Message, facility, severity};

/// `emergency` to `debug`.
pub const SEVERITY: &str = "__syslog_message_severity";
/// `kern` to `local7`.
pub const FACILITY: &str = "__syslog_message_facility";
/// The sender as it names itself.
pub const HOSTNAME: &str = "__syslog_message_hostname";
/// The program.
pub const APP_NAME: &str = "__syslog_message_app_name";
/// The process.
pub const PROC_ID: &str = "__syslog_message_proc_id";
/// The kind of message.
pub const MSG_ID: &str = "__syslog_message_msg_id";
/// What some devices write beside their name. Promtail has no such label.
pub const ORIGIN: &str = "__syslog_message_origin";
/// Before `<id>_<param>` of structured data.
pub const DATA_PREFIX: &str = "__syslog_message_sd_";
/// The address that the message came from.
pub const CONNECTION_IP_ADDRESS: &str = "__syslog_connection_ip_address";
/// Its name.
pub const CONNECTION_HOSTNAME: &str = "__syslog_connection_hostname";

impl<'a> Message<'a> {
    /// The labels of what the message has, structured data apart.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.fields().into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// All that it may have, always in this order.
    pub fn fields(&self) -> [(&'static str, Option<&'a str>); 7] {
        [
            (SEVERITY, self.severity.and_then(severity)),
            (FACILITY, self.facility.and_then(facility)),
            (HOSTNAME, self.hostname),
            (APP_NAME, self.app_name),
            (PROC_ID, self.proc_id),
            (MSG_ID, self.msg_id),
            (ORIGIN, self.origin),
        ]
    }
}

/// Appends the label name of a parameter of structured data: `__syslog_message_sd_<id>_<param>`, each character that a name cannot have
/// replaced by `_`.
pub fn write_data_name(id: &str, param: &str, to: &mut String) {
    to.push_str(DATA_PREFIX);
    let valid = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    to.extend(id.chars().map(valid));
    to.push('_');
    to.extend(param.chars().map(valid));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::syslog::{Options, parse};

    #[test]
    fn names_and_values() {
        let line = r#"<165>1 2003-10-11T22:14:15.003Z m.example.com evnt - ID47 [exampleSDID@32473 i.ut="3"] text"#;
        let found = parse(line, &Options::default());
        let labels: Vec<_> = found.labels().collect();
        assert_eq!(
            labels,
            [
                ("__syslog_message_severity", "notice"),
                ("__syslog_message_facility", "local4"),
                ("__syslog_message_hostname", "m.example.com"),
                ("__syslog_message_app_name", "evnt"),
                ("__syslog_message_msg_id", "ID47"),
            ]
        );
        let mut name = String::new();
        for param in found.data.params() {
            write_data_name(param.id, param.name, &mut name);
        }
        assert_eq!(name, "__syslog_message_sd_exampleSDID_32473_i_ut");
        assert_eq!(parse("hello", &Options::default()).labels().count(), 0);
    }
}
