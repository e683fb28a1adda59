//! Where encoded bytes go.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// From so many bytes on, what is gathered goes to the file.
const SPILL_BYTES: usize = 256 << 10;

/// Encoded bytes, gathered in memory. Where there is a file, most of a large piece (a row group) goes there as it is
/// written, so that it isn't in memory twice.
#[derive(Debug, Default)]
pub struct Out {
    /// What is gathered.
    pub bytes: Vec<u8>,
    spill: Option<Spill>,
}

#[derive(Debug)]
struct Spill {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Out {
    /// Bytes that are only gathered, behind those of `bytes`.
    pub const fn memory(bytes: Vec<u8>) -> Self {
        Self { bytes, spill: None }
    }

    /// Bytes that are gathered behind those of `bytes`, and go to the end of the file at `path` when they are many.
    pub const fn file(bytes: Vec<u8>, path: PathBuf) -> Self {
        Self { bytes, spill: Some(Spill { path, file: None, bytes: 0 }) }
    }

    /// The bytes that went to the file. What is gathered stands behind them.
    pub fn spilled_bytes(&self) -> u64 {
        self.spill.as_ref().map_or(0, |spill| spill.bytes)
    }

    /// The error of a file that took no more bytes.
    pub(crate) fn refused(&self, fault: std::io::Error) -> crate::Error {
        let path = self.spill.as_ref().map(|spill| spill.path.clone()).unwrap_or_default();
        crate::Error::file("write", path)(fault)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= SPILL_BYTES
            && let Some(Spill { path, file, bytes }) = &mut self.spill
        {
            let file = match file {
                Some(file) => file,
                none => none.insert(OpenOptions::new().append(true).open(path)?),
            };
            file.write_all(&self.bytes)?;
            *bytes += self.bytes.len() as u64;
            self.bytes.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_stands_behind_what_went_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "head").unwrap();
        let mut out = Out::file(b"one".to_vec(), path.clone());
        out.write_all(b"two").unwrap();
        assert_eq!((out.spilled_bytes(), &out.bytes[..]), (0, &b"onetwo"[..]));
        out.write_all(&vec![b'x'; SPILL_BYTES]).unwrap();
        out.write_all(b"rest").unwrap();
        let mut whole = std::fs::read(&path).unwrap();
        assert_eq!(out.spilled_bytes(), whole.len() as u64 - 4);
        whole.extend(&out.bytes);
        assert_eq!(whole, [b"headonetwo".to_vec(), vec![b'x'; SPILL_BYTES], b"rest".to_vec()].concat());
    }
}
