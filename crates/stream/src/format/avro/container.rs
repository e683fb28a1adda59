//! Walks Avro object container files: header, blocks, codecs. Nothing is believed that the bytes can't hold.

use std::io::Read as _;

use super::Framing;
use crate::{Cut, Reason, ReasonCode};

/// What every container begins with.
pub(super) const MAGIC: &[u8; 4] = b"Obj\x01";

/// Bytes of a container's header, most of which is the schema.
pub(super) const HEADER_BYTES_MAX: usize = 4 << 20;

/// Bytes of one block, as stored and unpacked.
pub(super) const BLOCK_BYTES_MAX: usize = 64 << 20;

/// The length of a sync marker in bytes.
const SYNC_BYTES: usize = 16;

/// Why a header or block can't be had.
#[derive(Debug)]
pub(super) enum Lack {
    /// The bytes end within it.
    More,
    /// It is broken, or too long.
    Bad(Reason),
}

impl Lack {
    /// As the reason why a whole message is bad.
    pub(super) fn reason(self, what: &str, length: usize) -> Reason {
        match self {
            Self::More => bad(format!("the bytes end within {what}, at byte {length}")),
            Self::Bad(reason) => reason,
        }
    }
}

/// A malformed message.
pub(super) fn bad(message: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Malformed, message)
}

/// What stands before the blocks.
#[derive(Debug)]
pub(super) struct Header<'a> {
    /// The writer's schema, JSON.
    pub(super) schema: &'a [u8],
    /// How blocks are packed.
    pub(super) codec: Codec,
    /// What ends each block.
    pub(super) sync: [u8; SYNC_BYTES],
    /// Bytes of the header.
    pub(super) length: usize,
}

/// How blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// Some rows of a container.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// Records, as the block claims.
    pub(super) count: u64,
    /// As stored.
    pub(super) data: &'a [u8],
    /// Bytes from the count to the sync marker's end.
    pub(super) length: usize,
}

/// Reads the header at the front of `bytes`.
pub(super) fn header(bytes: &[u8]) -> Result<Header<'_>, Lack> {
    let result = read_header(bytes);
    match result {
        Err(Lack::More) if bytes.len() > HEADER_BYTES_MAX => Err(Lack::Bad(Reason::new(
            ReasonCode::TooLong,
            format!("the container's header is longer than {HEADER_BYTES_MAX} bytes"),
        ))),
        other => other,
    }
}

fn read_header(bytes: &[u8]) -> Result<Header<'_>, Lack> {
    let head = &bytes[..bytes.len().min(MAGIC.len())];
    if head != &MAGIC[..head.len()] {
        let found = head.escape_ascii();
        return Err(Lack::Bad(bad(format!("byte 0: `Obj\\x01` begins an Avro container, found `{found}`"))));
    }
    let mut walk = Walk { bytes, at: MAGIC.len() };
    if bytes.len() < MAGIC.len() {
        return Err(Lack::More);
    }
    let (mut schema, mut codec) = (None, Codec::Null);
    loop {
        let mut entries = walk.long()?;
        if entries == 0 {
            break;
        }
        if entries < 0 {
            walk.long()?;
            entries = entries.checked_neg().unwrap_or(i64::MAX);
        }
        for _ in 0..entries {
            let (key, value) = (walk.blob()?, walk.blob()?);
            match key {
                b"avro.schema" => schema = Some(value),
                b"avro.codec" => codec = self::codec(value)?,
                _ => {}
            }
        }
    }
    let sync = walk.take(SYNC_BYTES)?.first_chunk().copied().ok_or(Lack::More)?;
    let schema = schema.ok_or_else(|| Lack::Bad(bad("the container's header has no `avro.schema`")))?;
    Ok(Header { schema, codec, sync, length: walk.at })
}

fn codec(name: &[u8]) -> Result<Codec, Lack> {
    match name {
        b"null" | b"" => Ok(Codec::Null),
        b"deflate" => Ok(Codec::Deflate),
        b"snappy" => Ok(Codec::Snappy),
        b"zstandard" => Ok(Codec::Zstandard),
        other => Err(Lack::Bad(bad(format!(
            "the container's codec is `{}`; null, deflate, snappy and zstandard can be read",
            other.escape_ascii()
        )))),
    }
}

/// Reads the block at the front of `bytes`. Its end is compared with `sync` where that is known.
pub(super) fn block<'a>(bytes: &'a [u8], sync: Option<&[u8; SYNC_BYTES]>) -> Result<Block<'a>, Lack> {
    let mut walk = Walk { bytes, at: 0 };
    let count = walk.long()?;
    let count = u64::try_from(count).ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| Lack::Bad(bad("a block's count of records is not above 0")))?;
    let size = walk.long()?;
    let size = usize::try_from(size).map_err(|_| Lack::Bad(bad(format!("a block's size is {size}"))))?;
    if size > BLOCK_BYTES_MAX {
        let what = format!("a block has {size} bytes, the limit is {BLOCK_BYTES_MAX}");
        return Err(Lack::Bad(Reason::new(ReasonCode::TooLong, what)));
    }
    let data = walk.take(size)?;
    let end = walk.take(SYNC_BYTES)?;
    if sync.is_some_and(|sync| sync != end) {
        return Err(Lack::Bad(bad("a block's sync marker differs from the header's")));
    }
    Ok(Block { count, data, length: walk.at })
}

/// The records of a block, unpacked into `room` where they are packed.
pub(super) fn unpack<'a>(codec: Codec, data: &'a [u8], room: &'a mut Vec<u8>) -> Result<&'a [u8], Reason> {
    room.clear();
    match codec {
        Codec::Null => return Ok(data),
        Codec::Deflate => bounded(flate2::read::DeflateDecoder::new(data), room, "deflate")?,
        Codec::Zstandard => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data);
            bounded(decoder.map_err(|error| bad(format!("a block is not zstandard: {error}")))?, room, "zstandard")?;
        }
        Codec::Snappy => snappy(data, room)?,
    }
    Ok(room)
}

fn bounded(packed: impl std::io::Read, room: &mut Vec<u8>, name: &str) -> Result<(), Reason> {
    let read = packed.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(room);
    let length = read.map_err(|error| bad(format!("a block is not {name}: {error}")))?;
    if length > BLOCK_BYTES_MAX { Err(too_long()) } else { Ok(()) }
}

fn snappy(data: &[u8], room: &mut Vec<u8>) -> Result<(), Reason> {
    let Some((packed, checksum)) = data.split_last_chunk::<4>() else {
        return Err(bad("a snappy block is shorter than its checksum"));
    };
    let broken = |error: snap::Error| bad(format!("a block is not snappy: {error}"));
    let length = snap::raw::decompress_len(packed).map_err(broken)?;
    // Snappy packs at most 64 bytes into three: a length past that is a lie that would be paid in memory.
    if length > BLOCK_BYTES_MAX || length / 32 > packed.len() {
        return Err(too_long());
    }
    room.resize(length, 0);
    let length = snap::raw::Decoder::new().decompress(packed, room).map_err(broken)?;
    room.truncate(length);
    let mut crc = flate2::Crc::new();
    crc.update(room);
    if crc.sum() != u32::from_be_bytes(*checksum) {
        return Err(bad("a snappy block's checksum differs from its bytes"));
    }
    Ok(())
}

fn too_long() -> Reason {
    Reason::new(ReasonCode::TooLong, format!("a block unpacks to more than {BLOCK_BYTES_MAX} bytes"))
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn long(&mut self) -> Result<i64, Lack> {
        let mut number = 0_u64;
        for index in 0..10 {
            let byte = *self.bytes.get(self.at).ok_or(Lack::More)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()));
            }
        }
        Err(Lack::Bad(bad(format!("byte {}: a number is longer than 64 bits", self.at))))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Lack> {
        let taken = self.bytes[self.at..].get(..count).ok_or(Lack::More)?;
        self.at += count;
        Ok(taken)
    }

    fn blob(&mut self) -> Result<&'a [u8], Lack> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) if length <= HEADER_BYTES_MAX => self.take(length),
            _ => Err(Lack::Bad(bad(format!("byte {}: the header has an entry of {length} bytes", self.at)))),
        }
    }
}

/// Cuts containers at their blocks; bare bodies are one message.
#[derive(Debug)]
pub(super) struct Cutter {
    framing: Framing,
    container: bool,
    sync: Option<[u8; SYNC_BYTES]>,
}

impl Cutter {
    pub(super) const fn new(framing: Framing) -> Self {
        Self { framing, container: !matches!(framing, Framing::Bare), sync: None }
    }
}

impl Cut for Cutter {
    fn header(&mut self, bytes: &[u8], at_end: bool) -> Result<Option<usize>, Reason> {
        let is_short = bytes.len() < MAGIC.len() && !at_end;
        self.container = match self.framing {
            Framing::Auto if is_short => return Ok(None),
            Framing::Auto => bytes.starts_with(MAGIC),
            Framing::Container => true,
            Framing::Bare | Framing::Confluent => false,
        };
        if !self.container {
            return Ok(Some(0));
        }
        match header(bytes) {
            Ok(header) => {
                self.sync = Some(header.sync);
                Ok(Some(header.length))
            }
            Err(Lack::More) if !at_end => Ok(None),
            Err(lack) => Err(lack.reason("the container's header", bytes.len())),
        }
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, ends: &mut Vec<u32>) -> Result<usize, Reason> {
        if !self.container {
            let length = if at_end { bytes.len() } else { 0 };
            push_end(ends, length)?;
            return Ok(length);
        }
        let (mut used, mut records) = (0, 0_u64);
        while used < bytes.len() {
            match block(&bytes[used..], self.sync.as_ref()) {
                Ok(block) if used > 0 && records.saturating_add(block.count) > rows as u64 => break,
                Ok(block) => {
                    used += block.length;
                    records = records.saturating_add(block.count);
                    push_end(ends, used)?;
                }
                Err(_) if used > 0 => break,
                Err(Lack::More) if !at_end => break,
                Err(lack) => return Err(lack.reason("a block", bytes.len())),
            }
        }
        Ok(used)
    }

    fn lines(&self) -> bool {
        false
    }
}

fn push_end(ends: &mut Vec<u32>, end: usize) -> Result<(), Reason> {
    if end > 0 {
        ends.push(u32::try_from(end).map_err(|_| Reason::new(ReasonCode::TooLong, "a message is longer than 4 GiB"))?);
    }
    Ok(())
}
