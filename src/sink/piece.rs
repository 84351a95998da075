//! A piece of a batch: what one request carries after the batch had to be divided.
//!
//! Promises: the two halves of a piece hold its entries, each once, in the same order. Leaves to others: when to divide.

use crate::format::loki::{PushRequest, StreamAdapter, encode_snappy};
use bytes::Bytes;
use prost::Message;

/// Part of a batch, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece(pub PushRequest);

/// What became of an attempt to halve a piece.
#[derive(Debug)]
pub enum Halved {
    /// In the order of sending.
    Two(Piece, Piece),
    /// There is nothing to divide.
    Whole(Piece),
}

impl Piece {
    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.0.entries()
    }

    /// Size before compression, bytes.
    pub fn raw_bytes(&self) -> usize {
        self.0.encoded_len()
    }

    /// The request body.
    pub fn body(&self) -> Bytes {
        Bytes::from(encode_snappy(&self.0))
    }

    /// Whether it has entries of one stream only.
    pub fn is_one_stream(&self) -> bool {
        self.0.streams.iter().filter(|s| !s.entries.is_empty()).count() <= 1
    }

    /// Two halves of about the same size: by streams when there are several, else by entries.
    pub fn halve(mut self) -> Halved {
        self.0.streams.retain(|stream| !stream.entries.is_empty());
        let streams = &mut self.0.streams;
        if streams.len() > 1 {
            let at = middle(streams.iter().map(Message::encoded_len));
            let right = streams.split_off(at);
            return Halved::Two(self, Piece(PushRequest { streams: right }));
        }
        match streams.first_mut() {
            Some(stream) if stream.entries.len() > 1 => {
                let at = middle(stream.entries.iter().map(Message::encoded_len));
                let entries = stream.entries.split_off(at);
                let right = StreamAdapter { labels: stream.labels.clone(), entries, hash: stream.hash };
                Halved::Two(self, Piece(PushRequest { streams: vec![right] }))
            }
            _ => Halved::Whole(self),
        }
    }

    /// Pieces of at most `max_bytes` before compression, as far as single entries allow, in order.
    pub fn divide(self, max_bytes: usize) -> Vec<Piece> {
        let mut done = Vec::new();
        let mut open = vec![self];
        while let Some(piece) = open.pop() {
            if piece.raw_bytes() <= max_bytes {
                done.push(piece);
                continue;
            }
            match piece.halve() {
                Halved::Two(left, right) => open.extend([right, left]),
                Halved::Whole(single) => done.push(single),
            }
        }
        done
    }
}

/// The index, neither first nor end, that divides two or more sizes into about equal sums.
fn middle(sizes: impl ExactSizeIterator<Item = usize> + Clone) -> usize {
    let len = sizes.len();
    let half = sizes.clone().sum::<usize>() / 2;
    let mut sum = 0;
    let at = sizes.take_while(|size| {
        sum += size;
        sum <= half
    });
    at.count().clamp(1, len.saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::loki::EntryAdapter;
    use proptest::prelude::*;

    fn flat(pieces: &[Piece]) -> Vec<(String, Vec<u8>)> {
        let streams = pieces.iter().flat_map(|piece| &piece.0.streams);
        streams.flat_map(|s| s.entries.iter().map(|e| (s.labels.clone(), e.line.clone()))).collect()
    }

    proptest! {
        #[test]
        fn pieces_hold_all_entries_in_order(
            streams in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20), 0..6),
            max_bytes in 1usize..600,
        ) {
            let streams = streams.into_iter().enumerate().map(|(i, lines)| StreamAdapter {
                labels: format!("{{s=\"{i}\"}}"),
                entries: lines.into_iter().map(|line| EntryAdapter { timestamp: None, line, structured_metadata: Vec::new() }).collect(),
                hash: 0,
            }).collect();
            let whole = Piece(PushRequest { streams });
            let pieces = whole.clone().divide(max_bytes);
            prop_assert_eq!(flat(&pieces), flat(&[whole]));
            for piece in &pieces {
                prop_assert!(piece.raw_bytes() <= max_bytes || piece.entries() <= 1);
            }
        }
    }
}
