//! A request that is sealed, in memory and as a frame of the spool.
//!
//! A frame begins with 24 bytes, numbers little-endian: a version, that of the protocol, two bytes that are 0, exemplars (`u32`), and the times of the oldest and
//! the newest sample (`i64`, milliseconds). The rest is the body as it is sent. How many samples it has the frame says itself.
//!
//! Promises: what was framed comes back; other bytes are none of ours. Leaves to others: damage (`store::spool` has checksums).

use crate::format::write_response::Protocol;
use crate::sink::spool::Framed;
use crate::store::spool::{Frame, Meta};
use bytes::Bytes;
use std::borrow::Cow;
use std::time::Instant;

/// The form of frames.
const VERSION: u8 = 1;
/// Length of what stands before the body.
const HEAD_BYTES: usize = 24;

/// What is in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) protocol: Protocol,
    pub(super) samples: u32,
    pub(super) exemplars: u32,
    /// Before compression.
    pub(super) raw_bytes: u32,
    /// Of the oldest and the newest sample, milliseconds since 1970.
    pub(super) times_ms: (i64, i64),
}

/// A sealed request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Compressed.
    pub(super) body: Bytes,
    pub(super) content: Content,
    pub(super) sealed: Instant,
}

impl Framed for Request {
    fn frame(&self) -> (Meta, Cow<'_, [u8]>) {
        let Content { protocol, samples, exemplars, raw_bytes, times_ms: (oldest, newest) } = self.content;
        let protocol = match protocol {
            Protocol::V1 => 1,
            Protocol::V2 => 2,
        };
        let mut payload = Vec::with_capacity(HEAD_BYTES + self.body.len());
        payload.extend_from_slice(&[VERSION, protocol, 0, 0]);
        payload.extend_from_slice(&exemplars.to_le_bytes());
        payload.extend_from_slice(&oldest.to_le_bytes());
        payload.extend_from_slice(&newest.to_le_bytes());
        payload.extend_from_slice(&self.body);
        (Meta { raw_bytes, entries: samples }, Cow::Owned(payload))
    }
}

impl Request {
    /// What a frame holds; `None`: it is of a version of the agent that is not known here.
    pub(super) fn of_frame(frame: &Frame) -> Option<Self> {
        let (head, rest) = frame.payload.split_first_chunk::<4>()?;
        let protocol = match head {
            [VERSION, 1, 0, 0] => Protocol::V1,
            [VERSION, 2, 0, 0] => Protocol::V2,
            _ => return None,
        };
        let (exemplars, rest) = rest.split_first_chunk()?;
        let (oldest, rest) = rest.split_first_chunk()?;
        let (newest, _) = rest.split_first_chunk()?;
        let content = Content {
            protocol,
            samples: frame.meta.entries,
            exemplars: u32::from_le_bytes(*exemplars),
            raw_bytes: frame.meta.raw_bytes,
            times_ms: (i64::from_le_bytes(*oldest), i64::from_le_bytes(*newest)),
        };
        Some(Request { body: frame.payload.slice(HEAD_BYTES..), content, sealed: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(request: &Request) -> Frame {
        let (meta, payload) = request.frame();
        Frame { sequence: 1, created_s: 0, meta, payload: Bytes::copy_from_slice(&payload) }
    }

    proptest! {
        #[test]
        fn what_is_framed_comes_back(
            body: Vec<u8>, v2: bool, samples: u32, exemplars: u32, raw_bytes: u32, times_ms: (i64, i64),
        ) {
            let protocol = if v2 { Protocol::V2 } else { Protocol::V1 };
            let content = Content { protocol, samples, exemplars, raw_bytes, times_ms };
            let request = Request { body: body.into(), content, sealed: Instant::now() };
            let again = Request::of_frame(&framed(&request)).unwrap();
            prop_assert_eq!((again.body, again.content), (request.body, request.content));
        }
    }

    #[test]
    fn frames_of_other_forms_are_none() {
        let request = Request { body: Bytes::new(), content: Content::default(), sealed: Instant::now() };
        let good = framed(&request);
        assert!(Request::of_frame(&good).is_some());
        for (at, byte) in [(0, 2), (1, 0), (1, 3), (2, 1), (3, 1)] {
            let mut payload = good.payload.to_vec();
            payload[at] = byte;
            assert!(Request::of_frame(&Frame { payload: payload.into(), ..good.clone() }).is_none());
        }
        for len in 0..HEAD_BYTES {
            assert!(Request::of_frame(&Frame { payload: good.payload.slice(..len), ..good.clone() }).is_none());
        }
    }
}
