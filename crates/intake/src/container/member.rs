//! One member as a stream: inflated, counted and checked while it is read.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Entry, Method, unreadable};
use crate::fault::{Fault, LimitPassed};

type Packed<'a, R> = BufReader<Take<&'a mut R>>;

/// The unpacked bytes of a member. Reading to the end checks size and CRC-32; a failure makes
/// `read` fail, and [`finish`](Self::finish) says why.
pub(crate) struct Member<'a, R: Read> {
    source: Source<'a, R>,
    name: String,
    /// Bytes still to come, as the central directory promises.
    left: u64,
    crc: Crc,
    promised_crc: u32,
    ended: bool,
    failure: Option<Fault>,
}

enum Source<'a, R: Read> {
    Stored(Packed<'a, R>),
    Deflate(DeflateDecoder<Packed<'a, R>>),
    Zstd(Frames<'a, R>),
}

/// zstd frames one after another: Inspect's writer begins a new one every 200 MiB.
struct Frames<'a, R: Read> {
    packed: Packed<'a, R>,
    decoder: &'a mut FrameDecoder,
    /// True inside a frame.
    open: bool,
}

impl<'a, R: Read + Seek> Member<'a, R> {
    pub(super) fn open(
        input: &'a mut R,
        decoder: &'a mut FrameDecoder,
        entry: &Entry,
    ) -> Result<Self, Fault> {
        input.seek(SeekFrom::Start(entry.offset)).map_err(unreadable)?;
        let packed = BufReader::with_capacity(32 << 10, input.take(entry.compressed));
        let source = match entry.method {
            Method::Stored => Source::Stored(packed),
            Method::Deflate => Source::Deflate(DeflateDecoder::new(packed)),
            Method::Zstd => Source::Zstd(Frames { packed, decoder, open: false }),
        };
        Ok(Self {
            source,
            name: entry.name.clone(),
            left: entry.size,
            crc: Crc::new(),
            promised_crc: entry.crc,
            ended: false,
            failure: None,
        })
    }
}

impl<R: Read> Member<'_, R> {
    /// Reads what is left, so that size and CRC-32 are checked.
    pub(crate) fn finish(mut self) -> Result<(), Fault> {
        let mut buffer = vec![0; 32 << 10];
        while self.failure.is_none() {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The failure is kept beside the error.
                Err(_) => break,
            }
        }
        let failure = self.failure.unwrap_or_else(|| Fault::broken("the member can't be read"));
        Err(failure.in_member(&self.name))
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.failure.get_or_insert(fault);
        io::Error::other("the member can't be read")
    }

    fn check_end(&mut self) -> Result<(), Fault> {
        if self.left > 0 {
            return Err(Fault::broken("a member is shorter than the central directory says"));
        }
        if self.crc.sum() != self.promised_crc {
            return Err(Fault::broken("a member's CRC-32 is wrong"));
        }
        let packed = match &mut self.source {
            Source::Stored(packed) => packed,
            Source::Deflate(decoder) => decoder.get_mut(),
            Source::Zstd(frames) => &mut frames.packed,
        };
        match packed.fill_buf() {
            Ok([]) => {}
            Ok(_) => return Err(Fault::broken("packed bytes follow the end of a member")),
            Err(error) => return Err(unreadable(error)),
        }
        // What the archive lacks at its end is no packed byte that was left over.
        if packed.get_ref().limit() > 0 {
            return Err(Fault::broken("the archive ends too early"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        if self.failure.is_some() {
            return Err(io::Error::other("the member can't be read"));
        }
        // One byte more than promised is enough to see that there is more.
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let length = buffer.len().min(most);
        let buffer = &mut buffer[..length];
        let read = match &mut self.source {
            Source::Stored(packed) => packed.read(buffer).map_err(unreadable),
            Source::Deflate(decoder) => {
                decoder.read(buffer).map_err(|_| Fault::broken("a damaged deflate stream"))
            }
            Source::Zstd(frames) => frames.read(buffer),
        };
        let read = read.map_err(|fault| self.fail(fault))?;
        if read == 0 {
            self.check_end().map_err(|fault| self.fail(fault))?;
            self.ended = true;
            return Ok(0);
        }
        let Some(left) = self.left.checked_sub(read as u64) else {
            let fault = Fault::broken("a member is longer than the central directory says");
            return Err(self.fail(fault));
        };
        self.left = left;
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}

impl<R: Read> Frames<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let damaged = || Fault::broken("a damaged zstd stream");
        loop {
            if !self.open {
                if self.packed.fill_buf().map_err(unreadable)?.is_empty() {
                    return Ok(0);
                }
                self.decoder.reset(&mut self.packed).map_err(begin)?;
                self.open = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|_| damaged())?;
            }
            let read = self.decoder.read(buffer).map_err(|_| damaged())?;
            if read > 0 {
                return Ok(read);
            }
            let promised = self.decoder.get_checksum_from_data();
            if promised.is_some() && promised != self.decoder.get_calculated_checksum() {
                return Err(Fault::broken("a zstd frame's checksum is wrong"));
            }
            self.open = false;
        }
    }
}

/// Why a frame can't begin. Skippable frames are refused too: no harness writes them, and they
/// would hide bytes.
fn begin(error: FrameDecoderError) -> Fault {
    match error {
        FrameDecoderError::WindowSizeTooBig { max, .. } => LimitPassed::ZstdWindow(max).into(),
        FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { got }) => {
            LimitPassed::ZstdWindow(got).into()
        }
        _ => Fault::broken("a damaged zstd frame header"),
    }
}
