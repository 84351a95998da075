//! `lugger dead-letters`: shows the lines that endpoints refused for good, and sends them once more.
//!
//! Promises: beside a running agent nothing gets lost or doubled in the file; only what an endpoint has stored leaves it; a line that is
//! given a new time keeps it until its fate is known, so that sending it again after an interruption does not double it.

use super::log::visible;
use super::output::{complain, count, say};
use super::signals::Signals;
use super::start::load;
use crate::base::clock::Clock;
use crate::base::limits::RESEND_SAVE_MS;
use crate::config::plan::Plan;
use crate::format::civil::format_rfc3339_ns;
use crate::format::letter::Letter;
use crate::format::loki::{Timestamp, parse_labels};
use crate::format::push_response::Reason;
use crate::sink::letter_box::{LetterBox, LineId};
use crate::sink::resend::{Fate, Outgoing, Resender};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print them, with the reason and what the endpoint said
    Print {
        #[command(flatten)]
        which: Which,

        /// Print them as they are in the file, a line of JSON each
        #[arg(long)]
        json: bool,
    },
    /// Send them once more; those that are stored leave the file
    ///
    /// It may be used while the agent runs. Interrupted, it loses nothing; what it sends again is the same as before, so
    /// that Loki keeps it once.
    Send {
        #[command(flatten)]
        which: Which,

        /// Send all to this endpoint of the configuration, instead of each to the one that refused it
        #[arg(long, value_name = "NAME")]
        to: Option<String>,

        /// Give those that were refused because of their time the present one
        #[arg(long)]
        now: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/lugger/agent.yaml")]
    config: PathBuf,

    /// Only those refused for this reason, such as too_old; may be repeated
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Vec<Reason>,

    /// Only those refused by this endpoint; may be repeated
    #[arg(long, value_name = "NAME")]
    endpoint: Vec<String>,
}

fn reason(name: &str) -> Result<Reason, String> {
    let names = || Reason::ALL.map(Reason::as_str).join(", ");
    Reason::named(name).ok_or_else(|| format!("the reasons are {}", names()))
}

impl Which {
    fn is_asked_for(&self, letter: &Letter) -> bool {
        (self.reason.is_empty() || self.reason.iter().any(|reason| reason.as_str() == letter.reason))
            && (self.endpoint.is_empty() || self.endpoint.contains(&letter.endpoint))
    }
}

/// Runs the command: exit code 0 if all that was asked for was done.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    let (What::Print { which, .. } | What::Send { which, .. }) = &options.what;
    let plan = match load(&which.config) {
        Ok(plan) => plan,
        Err(error) => {
            // The report is complete in itself.
            complain(&format!("{error:#}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    match &options.what {
        What::Print { which, json } => print(&plan, which, *json),
        What::Send { which, to, now } => super::runtime()?.block_on(send(&plan, which, to.as_deref(), *now)),
    }
}

fn print(plan: &Plan, which: &Which, json: bool) -> anyhow::Result<ExitCode> {
    let letters = LetterBox::read(&plan.state_dir)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut shown, mut unreadable) = (0, 0);
    for (_, line) in letters.lines() {
        let Ok(letter) = Letter::decode(line) else {
            unreadable += 1;
            continue;
        };
        if !which.is_asked_for(&letter) {
            continue;
        }
        shown += 1;
        let written = if json {
            out.write_all(line).and_then(|()| out.write_all(b"\n"))
        } else {
            writeln!(out, "{}", readable(&letter))
        };
        // Without a reader there is nothing left to do.
        if written.is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    // As above.
    let _ = out.flush();
    if !json {
        complain(&count(shown, "dead letter", "dead letters"));
    }
    tell_unreadable(unreadable);
    Ok(ExitCode::SUCCESS)
}

fn readable(letter: &Letter) -> String {
    let at = format_rfc3339_ns(letter.entry.ns());
    let mut text = format!(
        "{at} {}\n  {}\n  refused by {} as {} at {}: {}",
        visible(&letter.labels),
        visible(&letter.entry.text()),
        visible(&letter.endpoint),
        visible(&letter.reason),
        visible(&letter.time),
        visible(&letter.message)
    );
    for pair in &letter.entry.structured_metadata {
        text.push_str(&format!("\n  {}={}", visible(&pair.name), visible(&pair.value)));
    }
    if letter.truncated {
        text.push_str("\n  a part of it is missing, for it was too large");
    }
    text
}

/// Letters for one endpoint: each with its place in the file.
type Parcel = Vec<(LineId, Letter)>;

async fn send(plan: &Plan, which: &Which, to: Option<&str>, now: bool) -> anyhow::Result<ExitCode> {
    let named = |name: &str| plan.loki.iter().position(|endpoint| endpoint.name == name);
    let to = match to {
        Some(name) => Some(named(name).ok_or_else(|| {
            let names: Vec<&str> = plan.loki.iter().map(|endpoint| endpoint.name.as_str()).collect();
            anyhow::anyhow!("there is no endpoint named {name:?}; the endpoints are: {}", names.join(", "))
        })?),
        None => None,
    };
    let mut signals = Signals::listen()?;
    let mut letters = LetterBox::open(&plan.state_dir)?;
    let mut parcels: BTreeMap<usize, Parcel> = BTreeMap::new();
    let mut homeless: BTreeMap<String, u64> = BTreeMap::new();
    let (mut unreadable, mut unsendable) = (0, 0);
    for (id, line) in letters.lines() {
        match Letter::decode(line) {
            Err(_) => unreadable += 1,
            Ok(letter) if !which.is_asked_for(&letter) => {}
            Ok(letter) if letter.truncated || parse_labels(&letter.labels).is_err() => unsendable += 1,
            Ok(letter) => match to.or_else(|| named(&letter.endpoint)) {
                Some(endpoint) => parcels.entry(endpoint).or_default().push((id, letter)),
                None => *homeless.entry(letter.endpoint).or_default() += 1,
            },
        }
    }
    if now {
        stamp(&mut letters, parcels.values_mut().flatten())?;
    }
    let mut complete = homeless.is_empty() && unsendable == 0;
    let found = !parcels.is_empty();
    for (endpoint, parcel) in parcels {
        let Some(settings) = plan.loki.get(endpoint) else { continue };
        let mut tally = Tally::default();
        let mut resender = Resender::new(settings)?;
        let result = tokio::select! {
            result = deliver(&mut resender, &mut letters, parcel, &mut tally) => result,
            signal = signals.next() => Err(anyhow::anyhow!("interrupted by {signal}; what was not sent stays")),
        };
        let saved = letters.save();
        say(&format!("{}: {}", settings.name, tally.words()));
        saved?;
        result?;
        complete &= tally.refused.is_empty();
    }
    for (endpoint, number) in homeless {
        let number = count(number, "letter stays", "letters stay");
        complain(&format!("{number}: the configuration has no endpoint {endpoint:?}; --to sends them to another"));
    }
    if unsendable > 0 {
        let number = count(unsendable, "letter stays", "letters stay");
        complain(&format!("{number}: their labels cannot be parsed, or a part of them is missing"));
    }
    tell_unreadable(unreadable);
    if !found && complete {
        say("there is nothing to send");
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_unreadable(lines: u64) {
    if lines > 0 {
        complain(&format!("{}: not dead letters", count(lines, "line is passed over", "lines are passed over")));
    }
}

/// Gives a new time to letters that were refused because of theirs, and writes it down before anything is sent under it.
fn stamp<'a>(letters: &mut LetterBox, all: impl Iterator<Item = &'a mut (LineId, Letter)>) -> anyhow::Result<()> {
    let is_late = |letter: &Letter| Reason::named(&letter.reason).is_some_and(Reason::is_about_time);
    // Apart by a nanosecond, for equal lines of a stream under one time would be one entry.
    for (ns, (id, letter)) in (Clock::System.now_ns()..).zip(all.filter(|(_, l)| l.stamp.is_none() && is_late(l))) {
        letter.stamp = Some(ns);
        letters.replace(*id, letter.encode());
    }
    Ok(letters.save()?)
}

#[derive(Default)]
struct Tally {
    stored: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn words(&self) -> String {
        let stored = format!("{} stored", count(self.stored, "line", "lines"));
        let reasons: Vec<String> = self.refused.iter().map(|(reason, number)| format!("{number} {reason}")).collect();
        match reasons.is_empty() {
            true => stored,
            false => format!("{stored}, {} refused again ({})", self.refused.values().sum::<u64>(), reasons.join(", ")),
        }
    }
}

async fn deliver(
    resender: &mut Resender,
    letters: &mut LetterBox,
    mut parcel: Parcel,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let at = |letter: &Letter| letter.stamp.unwrap_or_else(|| letter.entry.ns());
    // Loki refuses what is far behind the newest entry of its stream.
    parcel.sort_by_key(|(_, letter)| at(letter));
    let outgoing: Vec<Outgoing> = parcel
        .iter()
        .map(|(_, letter)| {
            let mut entry = letter.entry.clone();
            entry.timestamp = Some(Timestamp::from_ns(at(letter)));
            Outgoing { tenant: letter.tenant.clone(), labels: letter.labels.clone(), entry }
        })
        .collect();
    let mut save_at = Instant::now() + Duration::from_millis(RESEND_SAVE_MS);
    let mut done = |fates: &[(usize, Fate)]| {
        for (index, fate) in fates {
            let Some((id, letter)) = parcel.get_mut(*index) else { continue };
            match fate {
                Fate::Stored => {
                    letters.remove(*id);
                    tally.stored += 1;
                }
                Fate::Refused(reason) => {
                    *tally.refused.entry(reason.as_str()).or_default() += 1;
                    // Nothing was stored under the new time: it may get another one.
                    if letter.stamp.take().is_some() {
                        letters.replace(*id, letter.encode());
                    }
                }
            }
        }
        if Instant::now() >= save_at {
            // A failure is met again at the end.
            let _ = letters.save();
            save_at = Instant::now() + Duration::from_millis(RESEND_SAVE_MS);
        }
    };
    Ok(resender.send(&outgoing, &mut done).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_in_words() {
        let mut tally = Tally { stored: 1, ..Tally::default() };
        assert_eq!(tally.words(), "1 line stored");
        tally.refused.extend([("too_old", 2), ("other", 1)]);
        assert_eq!(tally.words(), "1 line stored, 3 refused again (1 other, 2 too_old)");
    }

    #[test]
    fn reasons_are_known_by_name() {
        assert_eq!(reason("too_old"), Ok(Reason::TooOld));
        assert!(reason("old").unwrap_err().contains("too_old, too_new"));
    }
}
