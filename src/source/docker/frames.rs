//! Lines in the API's stream of a container's log.
//!
//! Without a terminal the stream is in frames: the number of the stream, three zeros, the length as four bytes in big-endian order, and a message.
//! With one it is the messages alone, all of stdout. A message is its time and a blank, then what the container wrote; one without a newline at its
//! end is a part of a line, as Docker divides long ones, and the next one of that stream goes on.
//!
//! Promises: parts are joined up to a bound, and what is longer is cut there; nothing is allocated for a line once the buffers have grown. Leaves to
//! others: connections, what was taken before.

use crate::format::rfc3339;

/// A frame that says that it is longer is no frame, bytes.
const FRAME_BYTES: usize = 8 * 1024 * 1024;
/// A time takes no more, bytes.
const TIME_BYTES: usize = 40;

/// The stream is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its log is in a form that lugger does not know")]
pub(super) struct Malformed;

/// Takes a stream apart.
#[derive(Debug)]
pub(super) struct Frames {
    /// Without frames.
    is_raw: bool,
    /// A line is cut to so much, bytes.
    most: usize,
    buffer: Vec<u8>,
    /// Parts of lines, by stream, with the time of the first.
    parts: [(Option<i64>, Vec<u8>); 2],
}

impl Frames {
    /// For a container with a terminal, or without; lines are cut to `most` bytes.
    pub(super) fn new(is_raw: bool, most: usize) -> Self {
        Frames { is_raw, most, buffer: Vec::new(), parts: Default::default() }
    }

    /// Takes in bytes; each whole line is given to `take`: its stream (0 is stdout, 1 stderr), time and text.
    pub(super) fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(usize, i64, &[u8])) -> Result<(), Malformed> {
        self.buffer.extend_from_slice(bytes);
        let mut read = 0;
        loop {
            let rest = self.buffer.get(read..).unwrap_or_default();
            let (stream, start, length) = if self.is_raw {
                let Some(end) = memchr::memchr(b'\n', rest) else { break };
                (0, 0, end + 1)
            } else {
                let Some((&[stream, 0, 0, 0, a, b, c, d], after)) = rest.split_first_chunk::<8>() else {
                    if rest.len() >= 8 {
                        return Err(Malformed);
                    }
                    break;
                };
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                // 0 is stdin, which is written to stdout; 3 is an error of the daemon.
                if stream > 3 || length > FRAME_BYTES {
                    return Err(Malformed);
                }
                if after.len() < length {
                    break;
                }
                (usize::from(stream == 2), 8, length)
            };
            let message = rest.get(start..start + length).unwrap_or_default();
            read += start + length;
            message_of(message, &mut self.parts[stream.min(1)], self.most, &mut |time, text| take(stream, time, text))?;
        }
        self.buffer.drain(..read);
        if self.buffer.len() > FRAME_BYTES + 8 {
            return Err(Malformed);
        }
        Ok(())
    }

    /// The stream has ended: what has no end is given as it is.
    pub(super) fn end(&mut self, take: &mut impl FnMut(usize, i64, &[u8])) {
        if self.is_raw && !self.buffer.is_empty() {
            let rest = std::mem::take(&mut self.buffer);
            // What is no message is nothing.
            let _ = message_of(&rest, &mut self.parts[0], self.most, &mut |time, text| take(0, time, text));
        }
        for (stream, (time, text)) in self.parts.iter_mut().enumerate() {
            if let Some(time) = time.take() {
                take(stream, time, text);
                text.clear();
            }
        }
    }
}

fn message_of(
    message: &[u8],
    (part_time, part): &mut (Option<i64>, Vec<u8>),
    most: usize,
    take: &mut impl FnMut(i64, &[u8]),
) -> Result<(), Malformed> {
    let head = message.get(..TIME_BYTES).unwrap_or(message);
    let blank = memchr::memchr(b' ', head).ok_or(Malformed)?;
    let (time, text) = message.split_at_checked(blank).ok_or(Malformed)?;
    let time_ns = std::str::from_utf8(time).ok().and_then(rfc3339::parse).ok_or(Malformed)?;
    let text = text.get(1..).unwrap_or_default();
    let whole = text.strip_suffix(b"\n");
    let body = whole.unwrap_or(text);
    let body = if whole.is_some() { body.strip_suffix(b"\r").unwrap_or(body) } else { body };
    if whole.is_some() && part_time.is_none() {
        take(time_ns, body.get(..most).unwrap_or(body));
        return Ok(());
    }
    let room = most.saturating_sub(part.len());
    part.extend_from_slice(body.get(..room).unwrap_or(body));
    // The line has the time of its end, as when it is read from a file.
    *part_time = Some(time_ns);
    if whole.is_some() {
        take(time_ns, part);
        part.clear();
        *part_time = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stream: u8, message: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend_from_slice(message.as_bytes());
        frame
    }

    /// The lines of a stream that comes in pieces of `step` bytes.
    fn lines(is_raw: bool, bytes: &[u8], step: usize) -> Vec<(usize, i64, String)> {
        let mut found = Vec::new();
        let mut frames = Frames::new(is_raw, 20);
        let mut take =
            |stream, time, text: &[u8]| found.push((stream, time, String::from_utf8(text.to_vec()).unwrap()));
        for piece in bytes.chunks(step) {
            frames.feed(piece, &mut take).unwrap();
        }
        frames.end(&mut take);
        found
    }

    #[test]
    fn frames_and_parts() {
        let at = |n: u8, text: &str| format!("1970-01-01T00:00:00.00000000{n}Z {text}");
        let mut stream = frame(1, &at(1, "one\n"));
        stream.extend(frame(1, &at(2, "a long ")));
        stream.extend(frame(2, &at(3, "error\n")));
        stream.extend(frame(1, &at(4, "line\n")));
        stream.extend(frame(2, &at(5, "abcdefghijklmnopqrstuvwxyz\n")));
        stream.extend(frame(2, &at(6, "\n")));
        stream.extend(frame(1, &at(7, "unended")));
        let want = [
            (0, 1, "one"),
            (1, 3, "error"),
            (0, 4, "a long line"),
            (1, 5, "abcdefghijklmnopqrst"),
            (1, 6, ""),
            (0, 7, "unended"),
        ]
        .map(|(stream, time, text)| (stream, time, text.to_owned()));
        for step in [1, 7, 1000] {
            assert_eq!(lines(false, &stream, step), want);
        }
    }

    #[test]
    fn terminals_have_no_frames() {
        let text = "1970-01-01T00:00:00.000000001Z one\r\n1970-01-01T00:00:00.000000002Z two";
        let want = [(0, 1, "one".to_owned()), (0, 2, "two".to_owned())];
        for step in [1, 7, 1000] {
            assert_eq!(lines(true, text.as_bytes(), step), want);
        }
    }

    #[test]
    fn what_is_no_stream() {
        let fails = |bytes: &[u8]| Frames::new(false, 20).feed(bytes, &mut |_, _, _| {}).is_err();
        assert!(fails(b"HTTP/1.1 200 OK"));
        assert!(fails(&frame(9, "x")));
        assert!(fails(&frame(1, "no time\n")));
        assert!(fails(&[1, 0, 0, 0, 255, 255, 255, 255]));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(0u8..4, 0..60), is_raw in proptest::bool::ANY) {
            let mut frames = Frames::new(is_raw, 20);
            let _ = frames.feed(&bytes, &mut |_, _, _| {});
            frames.end(&mut |_, _, _| {});
        }
    }
}
