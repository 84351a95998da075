//! What a scrape costs from body to points, MB/s of body: parsing, labels of the target, staleness.
//!
//! `cargo run --release --example scrape` takes texts of node_exporter's kind, 1,000 and 50,000 series, as collections of known series, and once all as new ones; and prints the
//! best of several rounds. Ends with an error if known series take less than 100 MB/s.

use lugger::format::prometheus::parse::{Form, Parser};
use lugger::model::points::Points;
use lugger::model::samples::Samples;
use lugger::source::series::{Common, Report, Series, Settings};
use std::process::ExitCode;
use std::time::Instant;

const ROUNDS: usize = 40;
/// MB/s at which known series have to be taken.
const GATE: f64 = 100.0;

fn text(series: usize) -> String {
    let mut text = String::new();
    for at in 0..series {
        if at % 50 == 0 {
            text.push_str(&format!(
                "# HELP node_thing_{at}_total What it counts, in a sentence.\n# TYPE node_thing_{at}_total counter\n"
            ));
        }
        let family = at - at % 50;
        text.push_str(&format!(
            "node_thing_{family}_total{{device=\"eth{}\",mode=\"receive\"}} {}\n",
            at % 50,
            at * 977
        ));
    }
    text
}

fn new_series() -> Result<Series, Box<dyn std::error::Error>> {
    let settings = Settings {
        outer: vec![("host".into(), "web-1".into()), ("site".into(), "home".into())],
        ..Settings::default()
    };
    let target = vec![("instance".into(), "127.0.0.1:9100".into()), ("job".into(), "node".into())];
    Ok(Series::new(Common::new(settings)?, target))
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut good = true;
    for count in [1_000, 50_000] {
        let text = text(count);
        let (mut parser, mut samples, mut points) = (Parser::default(), Samples::default(), Points::default());
        let mut of_target = new_series()?;
        let mut best = [f64::INFINITY; 3];
        for round in 0..ROUNDS as i64 {
            let start = Instant::now();
            samples.clear();
            points.clear();
            parser.parse(Form::Text, text.as_bytes(), &mut samples)?;
            let parsed = start.elapsed().as_secs_f64();
            let taken = of_target.take(&samples, round, &mut points)?;
            of_target.report(&Report { up: true, taken, ..Report::default() }, round, &mut points);
            let all = start.elapsed().as_secs_f64();
            if round > 0 {
                best[0] = best[0].min(all);
                best[1] = best[1].min(parsed);
            }
            // All are new to another one.
            let mut other = new_series()?;
            points.clear();
            let start = Instant::now();
            other.take(&samples, round, &mut points)?;
            best[2] = best[2].min(start.elapsed().as_secs_f64());
        }
        let mb = text.len() as f64 / 1e6;
        let [all, parsed, new] = best;
        println!(
            "{count:>6} series, {:>5.2} MB: {:>4.0} MB/s, of that {:>4.0} ns a sample for parsing and {:>4.0} ns for its series; {:>5.0} ns for a new one",
            mb,
            mb / all,
            parsed * 1e9 / count as f64,
            (all - parsed) * 1e9 / count as f64,
            new * 1e9 / count as f64,
        );
        good &= mb / all >= GATE;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
