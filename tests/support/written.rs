//! A receiver of remote write 2.0 on loopback that keeps what it gets, as prost decodes it: messages are declared here a second time, so that an
//! error in ours cannot hide itself. And targets that say one text.

use prost::Message;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

/// Value, time and start of a sample, milliseconds.
pub type Told = (f64, i64, i64);

/// The receiver. Its threads end with the process.
#[derive(Clone)]
pub struct Written {
    pub addr: SocketAddr,
    series: Arc<Mutex<BTreeMap<String, Vec<Told>>>>,
}

impl Written {
    pub fn start() -> Written {
        let series: Arc<Mutex<BTreeMap<String, Vec<Told>>>> = Arc::default();
        let kept = Arc::clone(&series);
        let addr = serve(move |head, body| {
            assert!(head.to_lowercase().contains("proto=io.prometheus.write.v2.request"), "{head}");
            let bytes = snap::raw::Decoder::new().decompress_vec(body).unwrap();
            let request = Request::decode(&bytes[..]).unwrap();
            let symbol = |at: u32| request.symbols[at as usize].as_str();
            let mut kept = kept.lock().unwrap();
            let mut count = 0;
            for series in &request.timeseries {
                let pairs: BTreeMap<_, _> =
                    series.labels_refs.chunks(2).map(|pair| (symbol(pair[0]), symbol(pair[1]))).collect();
                let labels: Vec<_> = pairs
                    .iter()
                    .filter(|(name, _)| **name != "__name__")
                    .map(|(name, value)| format!("{name}={value:?}"))
                    .collect();
                let name = format!("{}{{{}}}", pairs["__name__"], labels.join(","));
                let told = series.samples.iter().map(|s| (s.value, s.timestamp, s.start_timestamp));
                kept.entry(name).or_default().extend(told);
                count += series.samples.len();
            }
            format!("HTTP/1.1 204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: {count}\r\n\r\n")
                .into_bytes()
        });
        Written { addr, series }
    }

    /// The samples of series whose name begins so.
    pub fn of(&self, begin: &str) -> BTreeMap<String, Vec<Told>> {
        let series = self.series.lock().unwrap();
        series
            .iter()
            .filter(|(name, _)| name.starts_with(begin))
            .map(|(name, told)| (name.clone(), told.clone()))
            .collect()
    }
}

/// A target that says this text. Its threads end with the process.
pub fn target(kind: &'static str, text: Arc<str>) -> SocketAddr {
    serve(move |_, _| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", text.len());
        [head.as_bytes(), text.as_bytes()].concat()
    })
}

/// Answers requests, given head and body.
fn serve(answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || connection(stream, &*answer));
        }
    });
    addr
}

fn connection(stream: TcpStream, answer: &dyn Fn(&str, &[u8]) -> Vec<u8>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        stream.write_all(&answer(&head, &body))?;
    }
}
