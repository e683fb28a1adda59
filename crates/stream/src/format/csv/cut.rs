//! Where CSV rows end, given that quoted fields may hold line feeds.

use memchr::{memchr, memchr2};

use crate::format::cut;
use crate::{Cut, Reason};

/// Cuts at line feeds outside of quoted fields.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) header: bool,
    pub(super) delimiter: u8,
    pub(super) quote: u8,
}

impl Cut for Records {
    fn header(&mut self, bytes: &[u8], at_end: bool) -> Result<Option<usize>, Reason> {
        if !self.header {
            return Ok(Some(0));
        }
        let end = record(bytes, self.delimiter, self.quote).0;
        Ok(end.or(at_end.then_some(bytes.len())))
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, ends: &mut Vec<u32>) -> Result<usize, Reason> {
        let length = |bytes: &[u8]| Ok(record(bytes, self.delimiter, self.quote).0);
        cut::each(bytes, at_end, rows, ends, length)
    }

    fn lines(&self) -> bool {
        false
    }
}

/// How many fields the first row has.
pub(super) fn fields(bytes: &[u8], delimiter: u8, quote: u8) -> usize {
    record(bytes, delimiter, quote).1
}

/// The length of the first row with its line feed, if it is whole, and its number of fields.
fn record(bytes: &[u8], delimiter: u8, quote: u8) -> (Option<usize>, usize) {
    let (mut at, mut fields) = (0, 1);
    loop {
        // At the start of a field: only here does a quote open one.
        if bytes.get(at) == Some(&quote) {
            let Some(length) = quoted(&bytes[at..], quote) else { return (None, fields) };
            at += length;
        }
        match memchr2(delimiter, b'\n', &bytes[at..]) {
            Some(found) if bytes[at + found] == delimiter => {
                at += found + 1;
                fields += 1;
            }
            Some(found) => return (Some(at + found + 1), fields),
            None => return (None, fields),
        }
    }
}

/// The length of the quoted part that `bytes` begin with; a quote inside of it is written twice.
fn quoted(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr(quote, &bytes[at..])? + 1;
        if bytes.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}
