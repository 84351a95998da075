//! What a real chronyd says of the clock, and what certificates of files and of a real server say of themselves, beside what their own tools say.

mod support;

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings};
use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::exposition::{self, Family};
use support::wait::wait_until;

const SOON: Duration = Duration::from_secs(30);

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tick(host: &mut Host) -> BTreeMap<String, Family> {
    let (mut samples, mut text) = (Samples::default(), Vec::new());
    host.collect(&mut samples);
    Writer::default().write(&samples, &mut text);
    exposition::read(&String::from_utf8(text).unwrap())
}

fn settings(collector: &str) -> Settings {
    let mut settings = Settings::new(Roots::default());
    settings.none();
    settings.set(collector, true).unwrap();
    settings
}

/// The value of the series that have this label.
fn values(families: &BTreeMap<String, Family>, name: &str, label: (&str, &str)) -> Vec<f64> {
    let has = |labels: &exposition::Labels| {
        label.0.is_empty() || labels.iter().any(|(name, value)| (name.as_str(), value.as_str()) == label)
    };
    let Some(family) = families.get(name) else { return Vec::new() };
    family.series.iter().filter(|(labels, _)| has(labels)).map(|(_, value)| *value).collect()
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_clock_is_as_chronyd_says() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_udp_port();
    let config = format!(
        "local stratum 7\nport 0\ncmdport {port}\nbindcmdaddress 127.0.0.1\nbindcmdaddress /\npidfile {0}/pid\ndriftfile {0}/drift\n",
        directory.path().display()
    );
    let file = directory.path().join("chrony.conf");
    fs::write(&file, config).unwrap();
    let mut settings = settings("chrony");
    settings.chrony_address = ([127, 0, 0, 1], port).into();
    let mut host = Host::new(&settings).unwrap();
    let silent = tick(&mut host);
    assert!(!silent.contains_key("chrony_up"), "nobody is there: that is no failure of a clock");
    assert_eq!(host.failures(), []);

    // It does not touch the clock (-x).
    let child = Command::new("chronyd").args(["-x", "-d", "-u", "root", "-f"]).arg(&file).stderr(Stdio::null()).spawn();
    let _chronyd = Server(child.expect("chronyd: tests/run installs it"));
    let ask = || {
        let mut chronyc = Command::new("chronyc");
        let told = chronyc.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "tracking"]).output().unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    wait_until("chronyd to follow its own clock", SOON, || ask().split(',').nth(2) == Some("7"));
    let told = ask();
    let told: Vec<&str> = told.trim_end().split(',').collect();
    let families = tick(&mut host);
    assert_eq!(host.failures(), []);
    let value = |name: &str| values(&families, name, ("", ""));
    assert_eq!(value("chrony_up"), [1.0]);
    assert_eq!(values(&families, "chrony_tracking_info", ("tracking_refid", told[0])), [1.0]);
    assert_eq!(value("chrony_tracking_stratum"), [7.0]);
    assert_eq!(value("chrony_tracking_remote_reference"), [0.0]);
    // What chronyc prints, with as many digits. Fields: id, name, stratum, time, system time, last offset, RMS offset, frequency, residual, skew,
    // root delay, root dispersion, interval, leap status.
    for (name, field, digits) in [
        ("last_offset_seconds", 5, 9),
        ("frequency_ppms", 7, 3),
        ("residual_frequency_ppms", 8, 3),
        ("skew_ppms", 9, 3),
        ("root_delay_seconds", 10, 9),
        ("root_dispersion_seconds", 11, 9),
    ] {
        let own = value(&format!("chrony_tracking_{name}"));
        let (own, theirs): (f64, f64) = (own[0], told[field].parse().unwrap());
        assert!((own - theirs).abs() <= 10f64.powi(-digits) + 1e-6, "{name}: {own}, chronyc says {theirs}");
    }
    let now_s = support::wait::now_ns() as f64 / 1e9;
    assert!((value("chrony_tracking_reference_timestamp_seconds")[0] - now_s).abs() < 3_600.0);
    // It goes away, and comes back.
    drop(_chronyd);
    assert!(!tick(&mut host).contains_key("chrony_up"));
}

#[track_caller]
fn openssl(directory: &Path, arguments: &str) -> String {
    let told = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let told = told.expect("openssl: tests/run installs it");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap()
}

/// Up to when it holds, as openssl says.
fn ends(directory: &Path, file: &str) -> f64 {
    let said = openssl(directory, &format!("x509 -in {file} -noout -enddate"));
    let date = said.trim_end().strip_prefix("notAfter=").unwrap();
    let seconds = Command::new("date").args(["-u", "+%s", "-d", date]).output().unwrap().stdout;
    String::from_utf8(seconds).unwrap().trim_end().parse().unwrap()
}

#[test]
fn certificates_hold_as_long_as_openssl_says() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (name, days) in [("one", 30), ("two", 400), ("served", 10)] {
        openssl(
            at,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.pem -days {days} -subj /O=Example/CN={name}"
            ),
        );
    }
    openssl(at, "x509 -in two.pem -outform der -out two.der");
    let both = fs::read_to_string(at.join("one.pem")).unwrap() + &fs::read_to_string(at.join("two.pem")).unwrap();
    fs::write(at.join("both.crt"), both).unwrap();
    fs::write(at.join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();

    // The port is kept until the server has it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl");
    server.args([
        "s_server",
        "-quiet",
        "-accept",
        &format!("127.0.0.1:{port}"),
        "-cert",
        "served.pem",
        "-key",
        "served.key",
    ]);
    let _server = Server(server.current_dir(at).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    wait_until("the server", SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());

    let mut settings = settings("certificates");
    settings.certificate_files = vec![at.join("*.pem"), at.join("two.der"), at.join("*.crt"), at.join("missing.pem")];
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    settings.certificate_servers = vec![format!("localhost:{port}"), format!("127.0.0.1:{gone}")];
    let mut host = Host::new(&settings).unwrap();
    // Servers are asked beside ticks, files are not.
    assert_eq!(values(&tick(&mut host), "x509_cert_not_after", ("issuer_O", "Example")).len(), 6);
    let mut families = BTreeMap::new();
    wait_until("both servers to be asked", SOON, || {
        families = tick(&mut host);
        values(&families, "x509_cert_not_after", ("subject_CN", "served")).len() == 2
            && host.failures().iter().any(|failure| failure.what.contains("(and 2 more)"))
    });
    let path = |name: &str| at.join(name).to_string_lossy().into_owned();
    let until = |name: &str| values(&families, "x509_cert_not_after", ("filepath", &path(name)));
    assert_eq!(until("one.pem"), [ends(at, "one.pem")]);
    assert_eq!(until("two.der"), [ends(at, "two.pem")]);
    let mut both = until("both.crt");
    both.sort_by(f64::total_cmp);
    assert_eq!(both, [ends(at, "one.pem"), ends(at, "two.pem")]);
    let served = ("endpoint", format!("localhost:{port}"));
    let served = (served.0, served.1.as_str());
    assert_eq!(values(&families, "x509_cert_not_after", served), [ends(at, "served.pem")]);
    assert_eq!(values(&families, "x509_cert_expired", served), [0.0]);
    assert_eq!(values(&families, "x509_cert_not_after", ("subject_CN", "one")).len(), 2);
    assert_eq!(values(&families, "x509_cert_not_after", ("issuer_O", "Example")).len(), 7);
    // broken.pem, missing.pem, and the server that is not there.
    assert_eq!(values(&families, "x509_read_errors", ("", "")), [3.0]);
    let failures = host.failures();
    assert!(failures.len() == 1 && failures[0].what.contains("(and 2 more)"), "{failures:?}");

    // Under other settings what servers have shown is still known.
    settings.deadline *= 2;
    host.renew(&settings).unwrap();
    assert_eq!(values(&tick(&mut host), "x509_cert_expired", served), [0.0]);
}

/// Whether this process is the one below, in namespaces of its own.
const APART: &str = "LUGGER_TEST_DEAD_RESOLVER";

/// A resolver that takes questions and gives no answer: files are told all the same.
#[test]
fn a_resolver_that_is_dead_keeps_no_file_from_being_told() {
    if std::env::var_os(APART).is_none() {
        let name = "a_resolver_that_is_dead_keeps_no_file_from_being_told";
        let mut apart = Command::new("unshare");
        apart.args(["--mount", "--net"]).arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
        let told = apart.env(APART, "1").output().expect("unshare is there");
        let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success() && out.contains("1 passed"), "{out}\n{err}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).status();
        assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program} {arguments:?}");
    };
    run("ip", &["link", "set", "lo", "up"]);
    let dead = UdpSocket::bind("127.0.0.1:53").unwrap();
    fs::write(at.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n").unwrap();
    run("mount", &["--bind", at.join("resolv.conf").to_str().unwrap(), "/etc/resolv.conf"]);
    openssl(
        at,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout one.key -out one.pem -days 30 -subj /O=Example/CN=one",
    );
    let mut settings = settings("certificates");
    settings.certificate_files = vec![at.join("one.pem")];
    settings.certificate_servers = vec!["nobody.example.org:443".to_owned()];
    let mut host = Host::new(&settings).unwrap();
    dead.set_read_timeout(Some(SOON)).unwrap();
    for round in 0..5 {
        let families = tick(&mut host);
        assert_eq!(values(&families, "x509_cert_expired", ("filename", "one.pem")), [0.0], "{round}");
        assert_eq!(host.failures(), []);
        if round == 0 {
            dead.recv(&mut [0; 512]).expect("the resolver is asked");
        }
    }
}
