//! Each row: a configuration with mistakes, and the whole report that it has to get.

use crate::load;

#[test]
fn reports_are_exactly_these() {
    check(CASES);
}

/// Each is refused with exactly its report.
pub fn check(cases: &[Case]) {
    for (case, text, expected) in cases {
        let report = match load(text) {
            Ok(_) => panic!("{case}: no error was found"),
            Err(report) => report,
        };
        assert_eq!(report.to_string(), expected.trim_start_matches('\n'), "{case}");
    }
}

/// Name, configuration, report.
pub type Case = (&'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    (
        "a tab in the indentation",
        r#"loki:
  - name: a
	url: http://localhost
"#,
        r#"
agent.yaml:2:11: not valid YAML: while scanning a plain scalar, found a tab
  2 |   - name: a
    |           ^
help: YAML is indented with spaces, not with tabs"#,
    ),
    (
        "a bracket that is not closed",
        r#"labels: { a: b
loki: []
"#,
        r#"
agent.yaml:2:5: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
  2 | loki: []
    |     ^
help: a value is missing, or a comma, or a [ or { is opened and not closed"#,
    ),
    (
        "a quote that is not closed",
        r#"state_dir: "/var/lib
"#,
        r#"
agent.yaml:1:12: not valid YAML: while scanning a quoted scalar, found unexpected end of stream
  1 | state_dir: "/var/lib
    |            ^
help: a quote is opened and not closed, or the text goes on after it"#,
    ),
    (
        "a pattern that begins with a star",
        r#"logs: [{ file: { include: *.log } }]
"#,
        r#"
agent.yaml:1:27: not valid YAML: while parsing node, found unknown anchor
  1 | logs: [{ file: { include: *.log } }]
    |                           ^
help: text that begins with * or & has to be quoted, such as "*.log""#,
    ),
    (
        "a colon in plain text",
        r#"labels: { a: b: c }
"#,
        r#"
agent.yaml:1:15: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
  1 | labels: { a: b: c }
    |               ^
help: a value is missing, or a comma, or a [ or { is opened and not closed"#,
    ),
    (
        "an alias inside its own anchor",
        r#"logs: &x [*x]
"#,
        r#"
agent.yaml:1:11: this alias stands inside the value that it repeats
  1 | logs: &x [*x]
    |           ^^
help: remove it"#,
    ),
    (
        "two documents",
        r#"loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log } }]
---
logs: []
"#,
        r#"
agent.yaml:3:1: a second document starts here
  3 | ---
    | ^
help: a configuration is one YAML document: remove the `---`"#,
    ),
    (
        "nothing but a comment",
        r#"# later
"#,
        r#"
agent.yaml:1:1: the configuration is empty
  1 | # later
    | ^
help: it needs at least `loki`, where logs go, and `logs`, where they come from"#,
    ),
    (
        "a list in place of the file's map",
        r#"- loki
"#,
        r#"
agent.yaml:1:1: expected a map with keys such as labels, loki, logs, found a list
  1 | - loki
    | ^
help: write `key: value` lines, indented, or { key: value }"#,
    ),
    (
        "a file that is both lugger's and Promtail's",
        r#"logs: [{}]
clients: [{ url: "http://localhost" }]
"#,
        r#"
agent.yaml:1:1: `logs` is not supported
  1 | logs: [{}]
    | ^^^^
help: a file is Promtail's or lugger's: remove it, or the keys of Promtail (`lugger convert` writes them in lugger's form)"#,
    ),
    (
        "a state directory in a file of Promtail",
        r#"state_dir: /x
clients: [{ url: "http://localhost" }]
"#,
        r#"
agent.yaml:1:1: `state_dir` is not supported
  1 | state_dir: /x
    | ^^^^^^^^^
help: a file is Promtail's or lugger's: with one of Promtail state is in /var/lib/lugger, or where the environment variable STATE_DIRECTORY says (systemd's StateDirectory=); `lugger convert` writes the file in lugger's form, which has state_dir"#,
    ),
    (
        "an unknown key, and the nearest one",
        r#"loki: [{ url: "http://localhost" }]
logs:
  - file:
      inclde: [/var/log/*.log]
"#,
        r#"
agent.yaml:4:7: unknown key "inclde"
  4 |       inclde: [/var/log/*.log]
    |       ^^^^^^
help: did you mean "include"?"#,
    ),
    (
        "a key in another spelling",
        r#"loki: [{ url: "http://localhost", Tenant-ID: x }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:35: unknown key "Tenant-ID"
  1 | loki: [{ url: "http://localhost", Tenant-ID: x }]
    |                                   ^^^^^^^^^
help: did you mean "tenant_id"?"#,
    ),
    (
        "an unknown key without a near one",
        r#"loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log } }]
limits: { colour: 5 }
"#,
        r#"
agent.yaml:3:11: unknown key "colour"
  3 | limits: { colour: 5 }
    |           ^^^^^^
help: the keys here are: memory, line, spool, spool_age, labels, label_name, label_value"#,
    ),
    (
        "keys of later versions",
        r#"loki: [{ url: "http://localhost" }]
logs:
  - file: { include: /x/*.log }
metrics: { containers: {} }
"#,
        r#"
agent.yaml:4:12: "containers" is not supported by this version
  4 | metrics: { containers: {} }
    |            ^^^^^^^^^^
help: remove it; the keys here are: interval, scrape_timeout, scrape, host, textfile, certificates"#,
    ),
    (
        "a list where a map is wanted",
        r#"loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log }, labels: [a, b] }]
"#,
        r#"
agent.yaml:2:47: expected a map, found a list
  2 | logs: [{ file: { include: /x/*.log }, labels: [a, b] }]
    |                                               ^
help: write `key: value` lines, indented, or { key: value }"#,
    ),
    (
        "text where a list is wanted",
        r#"loki: http://localhost
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:7: expected a list, found text
  1 | loki: <secret>
    |       ^^^^^^^^
help: begin each element with `- ` on a line of its own, or write [a, b]"#,
    ),
    (
        "a map where text is wanted",
        r#"loki: [{ url: { host: localhost } }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:15: expected text, found a map
  1 | loki: [{ url: { host: <secret> } }]
    |               ^
help: write one value; text with characters that mean something in YAML has to be quoted"#,
    ),
    (
        "nothing where text is wanted",
        r#"labels: { a: , b: 1 }
loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:11: expected text, found nothing
  1 | labels: { a: , b: 1 }
    |           ^
help: write one value; text with characters that mean something in YAML has to be quoted"#,
    ),
    (
        "a quoted truth value, and one of YAML 1.1",
        r#"loki:
  - { name: a, url: "https://localhost", tls_config: { insecure_skip_verify: "true" } }
  - { name: b, url: "https://localhost", tls_config: { insecure_skip_verify: yes } }
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:2:78: expected true or false, found text in quotes
  2 |   - { name: a, url: "https://localhost", tls_config: { insecure_skip_verify: "true" } }
    |                                                                              ^^^^^^
help: remove the quotes

agent.yaml:3:78: expected true or false, found text
  3 |   - { name: b, url: "https://localhost", tls_config: { insecure_skip_verify: yes } }
    |                                                                              ^^^
help: write true or false"#,
    ),
    (
        "a choice that does not exist",
        r#"loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log, start_at: ende } }]
"#,
        r#"
agent.yaml:2:47: "ende" is not a choice
  2 | logs: [{ file: { include: /x/*.log, start_at: ende } }]
    |                                               ^^^^
help: did you mean "end"?"#,
    ),
    (
        "the same key twice",
        r#"labels: { a: 1 }
loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log } }]
labels: { b: 2 }
"#,
        r#"
agent.yaml:4:1: the key "labels" is here for the second time
  4 | labels: { b: 2 }
    | ^^^^^^
help: the first is at line 1, column 1: keep one of them"#,
    ),
    (
        "bad durations and sizes",
        r#"loki: [{ url: "http://localhost", timeout: 5, batch_wait: 1h, batch_size: 1mb, backoff: { min: 5s, max: 1s } }]
logs: [{ file: { include: /x/*.log } }]
limits: { memory: 1MiB }
"#,
        r#"
agent.yaml:1:44: expected a duration such as 500ms, 15s, 5m, 12h or 7d, found "5"
  1 | loki: [{ url: "http://localhost", timeout: 5, batch_wait: 1h, batch_size: 1mb, backoff: { min: 5s, max: 1s } }]
    |                                            ^

agent.yaml:1:59: 1h is out of range
  1 | loki: [{ url: "http://localhost", timeout: 5, batch_wait: 1h, batch_size: 1mb, backoff: { min: 5s, max: 1s } }]
    |                                                           ^^
help: it has to be from 10ms to 1m

agent.yaml:1:75: expected a size such as 256KiB, 64MiB or 1GiB, found "1mb"
  1 | loki: [{ url: "http://localhost", timeout: 5, batch_wait: 1h, batch_size: 1mb, backoff: { min: 5s, max: 1s } }]
    |                                                                           ^^^

agent.yaml:1:96: the first pause (min) is longer than the longest (max)
  1 | loki: [{ url: "http://localhost", timeout: 5, batch_wait: 1h, batch_size: 1mb, backoff: { min: 5s, max: 1s } }]
    |                                                                                                ^^
help: set both, min at most max

agent.yaml:3:19: 1MiB is out of range
  3 | limits: { memory: 1MiB }
    |                   ^^^^
help: it has to be from 24MiB to 16GiB"#,
    ),
    (
        "a spool that is too small for its endpoints",
        r#"loki: [{ url: "http://a" }, { url: "http://b" }]
logs: [{ file: { include: /x/*.log } }]
limits:
  spool: 10MiB
  spool_age: 1s
"#,
        r#"
agent.yaml:4:10: 10MiB are too little for 2 endpoints
  4 |   spool: 10MiB
    |          ^^^^^
help: it has to be at least 16MiB, or 0 to switch the spool off

agent.yaml:5:14: 1s is out of range
  5 |   spool_age: 1s
    |              ^^
help: it has to be from 1m to 365d"#,
    ),
    (
        "bad URLs",
        r#"loki:
  - url: localhost
  - url: localhost:3100
  - url: http://
  - url: http://localhost/#push
  - { url: "http://localhost", proxy_url: "socks5://localhost" }
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:2:10: this is not a URL: relative URL without a base
  2 |   - url: localhost
    |          ^^^^^^^^^
help: write it like http://127.0.0.1:3100/loki/api/v1/push

agent.yaml:3:10: the URL has to begin with http:// or https://
  3 |   - url: localhost:3100
    |          ^^^^^^^^^^^^^^
help: write it like http://127.0.0.1:3100/loki/api/v1/push

agent.yaml:4:10: this is not a URL: empty host
  4 |   - url: http://
    |          ^^^^^^^
help: write it like http://127.0.0.1:3100/loki/api/v1/push

agent.yaml:5:10: the URL has a fragment (#), which is never sent
  5 |   - url: http://localhost/#push
    |          ^^^^^^^^^^^^^^^^^^^^^^
help: remove it

agent.yaml:6:43: the URL has to begin with http:// or https://
  6 |   - { url: "http://localhost", proxy_url: "socks5://localhost" }
    |                                           ^^^^^^^^^^^^^^^^^^^^
help: write it like http://proxy.example.org:3128"#,
    ),
    (
        "rates that bound nothing, or too much",
        r#"loki: [{ url: "http://localhost", rate: { burst: 1s } }]
logs: [{ file: { include: /a }, rate: { lines: 0, bytes: 1B, burst: 1ms } }]
"#,
        r#"
agent.yaml:1:35: `rate` bounds nothing
  1 | loki: [{ url: "http://localhost", rate: { burst: 1s } }]
    |                                   ^^^^
help: add `lines`, `bytes` or both: so much a second, such as `rate: { bytes: 1MiB }`

agent.yaml:2:48: 0 is out of range
  2 | logs: [{ file: { include: /a }, rate: { lines: 0, bytes: 1B, burst: 1ms } }]
    |                                                ^
help: it has to be from 1 to 1000000000

agent.yaml:2:58: 1B is out of range
  2 | logs: [{ file: { include: /a }, rate: { lines: 0, bytes: 1B, burst: 1ms } }]
    |                                                          ^^
help: it has to be from 1KiB to 1TiB

agent.yaml:2:69: 1ms is out of range
  2 | logs: [{ file: { include: /a }, rate: { lines: 0, bytes: 1B, burst: 1ms } }]
    |                                                                     ^^^
help: it has to be from 100ms to 1h"#,
    ),
    (
        "an endpoint that does not exist",
        r#"loki: [{ name: home, url: "http://localhost" }, { name: cloud, url: "http://localhost" }]
logs: [{ file: { include: /x/*.log }, to: [hone, elsewhere, home, cloud] }]
"#,
        r#"
agent.yaml:2:44: there is no endpoint named "hone"
  2 | logs: [{ file: { include: /x/*.log }, to: [hone, elsewhere, home, cloud] }]
    |                                            ^^^^
help: did you mean "home"?

agent.yaml:2:50: there is no endpoint named "elsewhere"
  2 | logs: [{ file: { include: /x/*.log }, to: [hone, elsewhere, home, cloud] }]
    |                                                  ^^^^^^^^^
help: the endpoints are: home, cloud"#,
    ),
    (
        "endpoints that have no name of their own",
        r#"loki: [{ url: "http://localhost:1" }, { url: "http://localhost:2" }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:46: another endpoint has the name that this one would get, the host of its URL
  1 | loki: [{ url: "http://localhost:1" }, { url: "http://localhost:2" }]
    |                                              ^^^^^^^^^^^^^^^^^^^^
help: give it a `name` of its own: metrics, `to` and what waits on disk go by it"#,
    ),
    (
        "names that are there twice, or are none",
        r#"loki: [{ name: a, url: "http://localhost" }, { name: a, url: "http://localhost" }]
logs: [{ name: "a b", file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:54: two endpoints are named "a"
  1 | loki: [{ name: a, url: "http://localhost" }, { name: a, url: "http://localhost" }]
    |                                                      ^
help: give each a name of its own

agent.yaml:2:16: "a b" is not a name
  2 | logs: [{ name: "a b", file: { include: /x/*.log } }]
    |                ^^^^^
help: a name has letters, digits and . _ - : and is at most 128 bytes long; it does not begin with a dot"#,
    ),
    (
        "patterns",
        r#"loki: [{ url: "http://localhost" }]
logs:
  - file:
      include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
      exclude: ["*.gz", "**/*.gz"]
  - file: { include: [] }
"#,
        r#"
agent.yaml:4:17: the pattern "var/log/*.log" is not absolute
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                 ^^^^^^^^^^^^^
help: begin it with /, such as /var/log/*.log

agent.yaml:4:32: "/" is a directory, not a pattern of files
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                                ^
help: write /*.log for files in it, /**/*.log for those below it too

agent.yaml:4:35: "/etc/" is a directory, not a pattern of files
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                                   ^^^^^
help: write /etc/*.log for files in it, /etc/**/*.log for those below it too

agent.yaml:4:42: "/etc" is a directory, not a pattern of files
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                                          ^^^^
help: write /etc/*.log for files in it, /etc/**/*.log for those below it too

agent.yaml:4:48: "/x/[" is not a pattern: unclosed character class; missing ']'
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                                                ^^^^^^
help: put a character that is meant literally in brackets, such as [{]

agent.yaml:4:56: in "/x/**.log", `**` is not alone between slashes
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                                                        ^^^^^^^^^^^
help: `**` stands for any number of directories, as in /var/log/**/*.log; within a name use `*`

agent.yaml:4:69: the pattern "/x/../y" matches no file
  4 |       include: [var/log/*.log, /, /etc/, /etc, "/x/[", "/x/**.log", /x/../y]
    |                                                                     ^^^^^^^
help: write the path without . and .. and double slashes

agent.yaml:5:17: the pattern "*.gz" is not absolute
  5 |       exclude: ["*.gz", "**/*.gz"]
    |                 ^^^^^^
help: begin it with /, or write "**/*.gz" for wherever that is

agent.yaml:6:13: `include` is missing or empty
  6 |   - file: { include: [] }
    |             ^^^^^^^
help: name files, such as `include: [/var/log/*.log]`"#,
    ),
    (
        "labels",
        r#"loki: [{ url: "http://localhost" }]
logs:
  - file: { include: /x/*.log }
    labels: { filename: x, a-b: x, __stream_shard__: x }
  - file: { include: /y/*.log }
    labels: { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, m: 1, n: 1, o: 1 }
"#,
        r#"
agent.yaml:4:15: the label filename is set by the agent, to the path of the file
  4 |     labels: { filename: x, a-b: x, __stream_shard__: x }
    |               ^^^^^^^^
help: choose another name, or remove it

agent.yaml:4:28: label name "a-b" is not valid: it starts with a letter or _ and goes on with letters, digits or _
  4 |     labels: { filename: x, a-b: x, __stream_shard__: x }
    |                            ^^^
help: choose another name

agent.yaml:4:36: label name "__stream_shard__" is reserved by Loki
  4 |     labels: { filename: x, a-b: x, __stream_shard__: x }
    |                                    ^^^^^^^^^^^^^^^^
help: choose another name

agent.yaml:6:5: streams would have 16 labels: global ones, own ones and filename
  6 |     labels: { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, m: 1, n: 1, o: 1 }
    |     ^^^^^^
help: `limits.labels` is 15, which is to be what Loki takes: remove some"#,
    ),
    (
        "two ways to log in",
        r#"loki: [{ url: "http://localhost", bearer_token: hunter2, headers: { Authorization: hunter2 }, basic_auth: { username: a, password: hunter2 } }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:35: basic_auth and bearer_token cannot be used together
  1 | loki: [{ url: "http://localhost", bearer_token: <secret>, headers: { Authorization: <secret> }, basic_auth: { username: a, password: <secret> } }]
    |                                   ^^^^^^^^^^^^
help: an endpoint has one way to show who you are: keep one of them

agent.yaml:1:69: the header Authorization cannot be used together with basic_auth or a bearer token
  1 | loki: [{ url: "http://localhost", bearer_token: <secret>, headers: { Authorization: <secret> }, basic_auth: { username: a, password: <secret> } }]
    |                                                                      ^^^^^^^^^^^^^
help: keep one of them"#,
    ),
    (
        "half a login",
        r#"loki: [{ url: "http://localhost", basic_auth: { } }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:35: basic_auth has no `username`
  1 | loki: [{ url: "http://localhost", basic_auth: { } }]
    |                                   ^^^^^^^^^^
help: add it

agent.yaml:1:35: basic_auth has no password
  1 | loki: [{ url: "http://localhost", basic_auth: { } }]
    |                                   ^^^^^^^^^^
help: add `password_file` (or `password`)"#,
    ),
    (
        "headers",
        r#"loki: [{ url: "http://localhost", headers: { Host: a, X-Scope-OrgID: a, "a/b": a, x-a: a, X-A: "a\nb" } }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:46: the header Host cannot be set here
  1 | loki: [{ url: "http://localhost", headers: { Host: <secret>, X-Scope-OrgID: <secret>, "a/b": <secret>, x-a: <secret>, X-A: <secret>} }]
    |                                              ^^^^
help: remove it: it comes from `url`

agent.yaml:1:55: the header X-Scope-OrgID cannot be set here
  1 | loki: [{ url: "http://localhost", headers: { Host: <secret>, X-Scope-OrgID: <secret>, "a/b": <secret>, x-a: <secret>, X-A: <secret>} }]
    |                                                              ^^^^^^^^^^^^^
help: use `tenant_id`

agent.yaml:1:73: this is not the name of a header
  1 | loki: [{ url: "http://localhost", headers: { Host: <secret>, X-Scope-OrgID: <secret>, "a/b": <secret>, x-a: <secret>, X-A: <secret>} }]
    |                                                                                       ^^^^^
help: a name has ASCII letters, digits and -

agent.yaml:1:91: the header X-A is here for the second time
  1 | loki: [{ url: "http://localhost", headers: { Host: <secret>, X-Scope-OrgID: <secret>, "a/b": <secret>, x-a: <secret>, X-A: <secret>} }]
    |                                                                                                                       ^^^
help: upper and lower case are the same: keep one

agent.yaml:1:96: the value contains characters that cannot be sent
  1 | loki: [{ url: "http://localhost", headers: { Host: <secret>, X-Scope-OrgID: <secret>, "a/b": <secret>, x-a: <secret>, X-A: <secret>} }]
    |                                                                                                                            ^^^^^^^^
help: it may have ASCII letters, digits, signs and blanks, and no line break"#,
    ),
    (
        "TLS",
        r#"loki:
  - url: http://localhost
    tls_config: { cert_file: client.pem, ca_file: /does/not/exist }
  - url: https://127.0.0.1
    tls_config: { key_file: /etc, cert_file: /etc/passwd, server_name: a b }
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:3:5: tls_config has no effect on an http:// URL
  3 |     tls_config: { cert_file: client.pem, ca_file: /does/not/exist }
    |     ^^^^^^^^^^
help: write https:// in `url`, or remove tls_config

agent.yaml:3:19: cert_file without key_file
  3 |     tls_config: { cert_file: client.pem, ca_file: /does/not/exist }
    |                   ^^^^^^^^^
help: a client certificate needs both: the chain (cert_file) and its key (key_file)

agent.yaml:3:30: this path is not absolute
  3 |     tls_config: { cert_file: client.pem, ca_file: /does/not/exist }
    |                              ^^^^^^^^^^
help: begin it with /

agent.yaml:3:51: this file cannot be read: there is no such file
  3 |     tls_config: { cert_file: client.pem, ca_file: /does/not/exist }
    |                                                   ^^^^^^^^^^^^^^^
help: create it, readable for the user that lugger runs as

agent.yaml:5:29: this file cannot be read: it is a directory
  5 |     tls_config: { key_file: /etc, cert_file: /etc/passwd, server_name: a b }
    |                             ^^^^
help: create it, readable for the user that lugger runs as

agent.yaml:5:72: this is not a host name
  5 |     tls_config: { key_file: /etc, cert_file: /etc/passwd, server_name: a b }
    |                                                                        ^^^
help: write the name in the endpoint's certificate, such as loki.example.org"#,
    ),
    (
        "nothing to do and nowhere to go",
        r#"labels: { a: b }
"#,
        r#"
agent.yaml:1:1: there is nothing to do: `logs` is missing or empty
  1 | labels: { a: b }
    | ^
help: say where logs come from, such as `logs: [{ file: { include: [/var/log/*.log] } }]`, or metrics, such as `metrics: { host: {} }`

agent.yaml:1:1: there is nowhere to send logs to: `loki` is missing or empty
  1 | labels: { a: b }
    | ^
help: say where logs go, such as `loki: [{ url: "http://127.0.0.1:3100" }]`"#,
    ),
    (
        "an entry without a source",
        r#"loki: [{ url: "http://localhost" }]
logs: [{ name: a }]
"#,
        r#"
agent.yaml:2:8: this entry of `logs` has no source
  2 | logs: [{ name: a }]
    |        ^
help: add `file`, such as `file: { include: [/var/log/*.log] }`, `journal: {}`, `docker: {}`, or syslog, push, gelf, stdin"#,
    ),
    (
        "sources without settings",
        r#"loki: [{ url: "http://localhost" }]
logs:
  - journal:
  - push:
    labels: { a: b }
  - file: { include: /dev/kmsg }
"#,
        r#"
agent.yaml:3:5: nothing is written behind `journal:`, so that this entry of `logs` has no source
  3 |   - journal:
    |     ^^^^^^^
help: write `journal: {}`

agent.yaml:4:5: nothing is written behind `push:`, so that this entry of `logs` has no source
  4 |   - push:
    |     ^^^^
help: write `push: { listen: 127.0.0.1:3500 }`

agent.yaml:6:22: /dev/kmsg is a device, not a file that can be followed
  6 |   - file: { include: /dev/kmsg }
    |                      ^^^^^^^^^
help: read the kernel's messages with `journal: { matches: _TRANSPORT=kernel }` instead of `file`, or from /var/log/kern.log"#,
    ),
    (
        "the rest of the file",
        r#"loki: [{ url: "http://localhost" }]
logs: [{ file: { include: /x/*.log } }]
http: { listen: ":9080" }
state_dir: lugger
"#,
        r#"
agent.yaml:3:17: expected an IP address and a port, or none
  3 | http: { listen: ":9080" }
    |                 ^^^^^^^
help: write it like 0.0.0.0:9080 or [::1]:9080

agent.yaml:4:12: this path is not absolute
  4 | state_dir: lugger
    |            ^^^^^^
help: begin it with /, such as /var/lib/lugger"#,
    ),
    (
        "the environment",
        r#"labels: { a: "${HOSTNAME}", b: "${NOT_SET}", c: "${NOT_SET:-x}" }
loki: [{ url: "http://localhost" }]
logs: [{ file: { include: "/x/${" } }]
"#,
        r#"
agent.yaml:1:33: the environment variable NOT_SET is not set
  1 | labels: { a: "${HOSTNAME}", b: "${NOT_SET}", c: "${NOT_SET:-x}" }
    |                                 ^^^^^^^^^^
help: set it (in the service's Environment= or EnvironmentFile=), or write ${NOT_SET:-default}

agent.yaml:3:31: `${` without its `}`
  3 | logs: [{ file: { include: "/x/${" } }]
    |                               ^^
help: close it, or write `$${` for the two characters themselves"#,
    ),
    (
        "tags and merge keys",
        r#"loki: [{ url: !secret "http://localhost", <<: 5 }]
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:15: a YAML tag means nothing here
  1 | loki: [{ url: !secret "http://localhost", <<: <secret> }]
    |               ^^^^^^^^^^^^^^^^^^^^^^^^^^
help: remove it; text that begins with ! has to be quoted

agent.yaml:1:47: `<<` takes a map, or a list of maps
  1 | loki: [{ url: !secret "http://localhost", <<: <secret> }]
    |                                               ^^^^^^^^
help: give a map a name with &name, and repeat it with *name"#,
    ),
    (
        "several errors at once, in the order of their places",
        r#"loki:
  - ulr: http://localhost:3100
    timeout: [5]
    basic_auth: { username: me, pasword: hunter2 }
  - 5
  - url: http://me:hunter2@localhost:3100
logs:
  - file: { include: [relative.log], start_at: 7 }
    labels: { filename: x }
  - nothing
limits: { memory: lots }
colour: 1
"#,
        r#"
agent.yaml:2:5: unknown key "ulr"
  2 |   - ulr: http://localhost:3100
    |     ^^^
help: did you mean "url"?

agent.yaml:3:14: expected text, found a list
  3 |     timeout: [5]
    |              ^
help: write one value; text with characters that mean something in YAML has to be quoted

agent.yaml:4:33: unknown key "pasword"
  4 |     basic_auth: { username: me, pasword: <secret> }
    |                                 ^^^^^^^
help: did you mean "password"?

agent.yaml:5:5: expected a map with keys such as name, url, tenant_id, found a number
  5 |   - <secret>
    |     ^^^^^^^^
help: write `key: value` lines, indented, or { key: value }

agent.yaml:6:10: user and password do not belong into the URL, where they would be shown
  6 |   - url: http://<secret>@localhost:3100
    |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
help: write `basic_auth: { username: …, password_file: … }`

agent.yaml:8:23: the pattern "relative.log" is not absolute
  8 |   - file: { include: [relative.log], start_at: 7 }
    |                       ^^^^^^^^^^^^
help: begin it with /, such as /var/log/*.log

agent.yaml:8:48: "7" is not a choice
  8 |   - file: { include: [relative.log], start_at: 7 }
    |                                                ^
help: the choices are: beginning, end

agent.yaml:9:15: the label filename is set by the agent, to the path of the file
  9 |     labels: { filename: x }
    |               ^^^^^^^^
help: choose another name, or remove it

agent.yaml:10:5: expected a map with keys such as name, file, journal, found text
  10 |   - nothing
     |     ^^^^^^^
help: write `key: value` lines, indented, or { key: value }

agent.yaml:11:19: expected a size such as 256KiB, 64MiB or 1GiB, found "lots"
  11 | limits: { memory: lots }
     |                   ^^^^

agent.yaml:12:1: unknown key "colour"
  12 | colour: <secret>
     | ^^^^^^
help: the keys here are: labels, loki, logs, metrics, remote_write, http, state_dir, import_positions, limits, late_labels"#,
    ),
];
