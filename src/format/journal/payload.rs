//! Decompresses payloads of data objects.
//!
//! Promises: no more comes out than [`JOURNALD_FIELD_BYTES`], and no more memory is used than [`JOURNALD_WINDOW_BYTES`] beside it; a decoder's
//! buffers are used again. Leaves to others: reading the payload, and what is in it.

use super::lz4;
use super::object::{Coding, u64_at};
use super::pages::Fault;
use crate::base::limits::{JOURNALD_BUFFER_BYTES, JOURNALD_FIELD_BYTES, JOURNALD_WINDOW_BYTES};
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use xz4rust::{XzDecoder, XzError, XzNextBlockResult};

/// Dictionary that an xz payload of journald has.
const XZ_DICTIONARY_BYTES: usize = 1024 * 1024;

/// How much of a payload came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// Its beginning.
    Cut,
    /// Nothing: it wants too much memory.
    TooLarge,
}

/// Decompresses payloads into a buffer of its own.
#[derive(Default)]
pub(super) struct Decompressor {
    zstd: FrameDecoder,
    /// The payload.
    pub(super) plain: Vec<u8>,
}

impl Decompressor {
    /// Puts what a stored payload stands for into `plain`.
    pub(super) fn decode(&mut self, coding: Coding, stored: &[u8]) -> Result<Extent, Fault> {
        if self.plain.capacity() > JOURNALD_BUFFER_BYTES {
            self.plain = Vec::new();
        }
        self.plain.clear();
        match coding {
            Coding::Plain => {
                self.plain.extend_from_slice(stored);
                Ok(Extent::Whole)
            }
            Coding::Lz4 => self.lz4(stored),
            Coding::Zstd => self.zstd(stored),
            Coding::Xz => self.xz(stored),
        }
    }

    fn lz4(&mut self, stored: &[u8]) -> Result<Extent, Fault> {
        let size = u64_at(stored, 0).ok_or(Fault::Damaged)?;
        let block = stored.get(8..).ok_or(Fault::Damaged)?;
        match lz4::decode(block, JOURNALD_FIELD_BYTES, &mut self.plain) {
            Ok(true) if size > self.plain.len() as u64 => Ok(Extent::Cut),
            Ok(false) if size == self.plain.len() as u64 => Ok(Extent::Whole),
            _ => Err(Fault::Damaged),
        }
    }

    fn zstd(&mut self, mut stored: &[u8]) -> Result<Extent, Fault> {
        self.zstd.set_max_window_size(JOURNALD_WINDOW_BYTES as u64);
        match self.zstd.init(&mut stored) {
            Ok(()) => {}
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Ok(Extent::TooLarge),
            Err(_) => return Err(Fault::Damaged),
        }
        let extent = self.zstd_blocks(stored);
        if self.plain.len() > JOURNALD_BUFFER_BYTES {
            // What it holds for the next payload has that size, too.
            self.zstd = FrameDecoder::new();
        }
        extent
    }

    fn zstd_blocks(&mut self, mut stored: &[u8]) -> Result<Extent, Fault> {
        loop {
            let step = BlockDecodingStrategy::UptoBlocks(1);
            self.zstd.decode_blocks(&mut stored, step).map_err(|_| Fault::Damaged)?;
            self.zstd.collect_to_writer(&mut self.plain).map_err(|_| Fault::Damaged)?;
            if self.plain.len() > JOURNALD_FIELD_BYTES {
                self.plain.truncate(JOURNALD_FIELD_BYTES);
                return Ok(Extent::Cut);
            }
            if self.zstd.is_finished() {
                return Ok(Extent::Whole);
            }
        }
    }

    /// Only hosts that have been updated for years have such payloads: nothing is kept for the next one.
    fn xz(&mut self, mut stored: &[u8]) -> Result<Extent, Fault> {
        let mut decoder = XzDecoder::with_alloc_dict_size(XZ_DICTIONARY_BYTES, JOURNALD_WINDOW_BYTES);
        loop {
            let at = self.plain.len();
            let room = at.max(4096).min(JOURNALD_FIELD_BYTES - at);
            self.plain.resize(at + room, 0);
            let into = self.plain.get_mut(at..).ok_or(Fault::Damaged)?;
            let step = match decoder.decode(stored, into) {
                Ok(step) => step,
                Err(XzError::DictionaryTooLarge(_)) => return Ok(Extent::TooLarge),
                Err(_) => return Err(Fault::Damaged),
            };
            self.plain.truncate(at + step.output_produced().min(room));
            stored = stored.get(step.input_consumed()..).ok_or(Fault::Damaged)?;
            match step {
                XzNextBlockResult::EndOfStream(..) => return Ok(Extent::Whole),
                _ if self.plain.len() >= JOURNALD_FIELD_BYTES => return Ok(Extent::Cut),
                step if !step.made_progress() => return Err(Fault::Damaged),
                _ => {}
            }
        }
    }
}
