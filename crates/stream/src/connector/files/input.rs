//! One file as a run of unpacked bytes, from an offset on.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Packed bytes are read in pieces of this size.
const PACKED_BYTES: usize = 64 << 10;

/// An open file.
pub(super) enum Input {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<File>>>),
}

/// Why there are no more bytes.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system refused.
    System(std::io::Error),
    /// The packed bytes are broken.
    Corrupt(std::io::Error),
}

impl From<std::io::Error> for Fault {
    /// Only what the system said has a number; all else is the unpacker's opinion of the bytes.
    fn from(fault: std::io::Error) -> Self {
        if fault.raw_os_error().is_some() { Self::System(fault) } else { Self::Corrupt(fault) }
    }
}

impl Input {
    /// Opens a file; its name tells how it is packed.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(PACKED_BYTES, file))))),
            Some("zst") => {
                let file = BufReader::with_capacity(PACKED_BYTES, file);
                Ok(Self::Zstd(Box::new(zstd::Decoder::with_buffer(file)?)))
            }
            _ => Ok(Self::Plain(file)),
        }
    }

    /// Goes to an offset of the unpacked bytes; only from the beginning.
    pub(super) fn go_to(&mut self, offset: u64) -> Result<(), Fault> {
        match self {
            Self::Plain(file) => file.seek(SeekFrom::Start(offset)).map(drop)?,
            Self::Gzip(input) => skip(input, offset)?,
            Self::Zstd(input) => skip(input, offset)?,
        }
        Ok(())
    }

    /// Appends `more` bytes, or what there is, and tells whether that was the end. After a fault, the bytes before it
    /// are there.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, more: usize) -> Result<bool, Fault> {
        let most = more as u64;
        let count = match self {
            Self::Plain(file) => file.take(most).read_to_end(buffer)?,
            Self::Gzip(input) => input.take(most).read_to_end(buffer)?,
            Self::Zstd(input) => input.take(most).read_to_end(buffer)?,
        };
        Ok(count < more)
    }
}

fn skip(input: &mut impl Read, offset: u64) -> std::io::Result<()> {
    std::io::copy(&mut input.take(offset), &mut std::io::sink()).map(drop)
}
