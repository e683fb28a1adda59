//! The place in a line that is being read. `None` means: out of the ordinary, or broken.

/// One in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of every byte.
const HIGHS: u64 = 0x8080_8080_8080_8080;
/// Digits that surely fit into 64 bits.
const INT_DIGITS_MAX: usize = 18;
/// Digits that surely fit into the 53 bits of a float.
const FLOAT_DIGITS_MAX: usize = 15;
/// Powers of ten that a float holds exactly, as many as there are digits.
const TENS: [f64; FLOAT_DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Powers of ten by their exponents, for up to eight digits.
const INT_TENS: [i64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The bytes of a line, and how far they are read.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The line and what stands behind it, so that its end too can be looked at eight bytes at a time.
    beyond: &'a [u8],
    at: usize,
}

/// A string, without its quotes.
pub(super) struct Quoted<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether there are backslashes.
    pub(super) escaped: bool,
}

impl<'a> Cursor<'a> {
    /// The line that ends at `end`, with what stands behind it.
    pub(super) fn new(beyond: &'a [u8], end: usize) -> Self {
        Self { bytes: &beyond[..end], beyond, at: 0 }
    }

    /// How far the line is read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// What was read from `start` on.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// The next byte that isn't white space, which is not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    /// Takes `byte`, and white space before it.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Takes a comma and goes on, or the end of an object or list.
    #[inline]
    pub(super) fn goes_on(&mut self, end: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte => (byte == end).then_some(false),
        }
    }

    /// Nothing may follow but white space.
    #[inline]
    pub(super) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Takes a word as it stands.
    #[inline]
    pub(super) fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// Takes `name`, a name with its quotes, its colon and what stands before it, if that comes next.
    #[inline]
    pub(super) fn is_name(&mut self, name: &[u8]) -> bool {
        let is = self.bytes.get(self.at..self.at + name.len()).is_some_and(|bytes| is_same(bytes, name));
        if is {
            self.at += name.len();
        }
        is
    }

    /// A string; it holds no control characters and is UTF-8.
    #[inline]
    pub(super) fn quoted(&mut self) -> Option<Quoted<'a>> {
        self.take(b'"')?;
        let start = self.at;
        let (mut escaped, mut high) = (false, 0);
        loop {
            match self.special(&mut high)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    // What is escaped is looked at where it is unescaped; a quote must not end the string.
                    self.at += 2;
                }
                _ => return None,
            }
        }
        let bytes = self.bytes.get(start..self.at)?;
        self.at += 1;
        if high != 0 && std::str::from_utf8(bytes).is_err() {
            return None;
        }
        Some(Quoted { bytes, escaped })
    }

    /// Goes to the next quote, backslash or control character, eight bytes at a time; notes the bytes beyond ASCII.
    #[inline]
    fn special(&mut self, high: &mut u64) -> Option<u8> {
        while let Some(word) = self.word_at() {
            *high |= word & HIGHS;
            let quote = word ^ (ONES * 0x22);
            let slash = word ^ (ONES * 0x5c);
            // The lowest byte that is marked is right; those above it may be marked by the borrow.
            let marked = (quote.wrapping_sub(ONES) & !quote)
                | (slash.wrapping_sub(ONES) & !slash)
                | (word.wrapping_sub(ONES * 0x20) & !word);
            let marked = marked & HIGHS;
            if marked != 0 {
                self.at += (marked.trailing_zeros() / 8) as usize;
                return self.bytes.get(self.at).copied();
            }
            self.at += 8;
        }
        loop {
            let byte = *self.bytes.get(self.at)?;
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return Some(byte);
            }
            *high |= u64::from(byte & 0x80);
            self.at += 1;
        }
    }

    /// The next eight bytes, which may stand behind the line.
    #[inline]
    fn word_at(&self) -> Option<u64> {
        self.beyond.get(self.at..).and_then(<[u8]>::first_chunk::<8>).map(|eight| u64::from_le_bytes(*eight))
    }

    /// A whole number of at most 18 digits.
    #[inline]
    pub(super) fn int(&mut self) -> Option<i64> {
        let start = self.at;
        let negative = self.minus();
        let value = self.digits(0)?;
        let number = &self.bytes[start..self.at];
        let digits = number.len() - usize::from(negative);
        if digits > INT_DIGITS_MAX || is_padded(number) || matches!(self.bytes.get(self.at), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        Some(if negative { -value } else { value })
    }

    #[inline]
    fn minus(&mut self) -> bool {
        let is = self.bytes.get(self.at) == Some(&b'-');
        self.at += usize::from(is);
        is
    }

    /// One digit or more, after those of `value`. Too many of them give nonsense, which the caller must not use.
    #[inline]
    fn digits(&mut self, mut value: i64) -> Option<i64> {
        let start = self.at;
        if let Some(word) = self.word_at() {
            let (count, more) = eight_digits(word, self.bytes.len() - start);
            value = value.wrapping_mul(INT_TENS[count]).wrapping_add(more);
            self.at += count;
        }
        while let Some(byte @ b'0'..=b'9') = self.bytes.get(self.at) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            self.at += 1;
        }
        (self.at > start).then_some(value)
    }

    /// A number, as JSON has them: its text, and where it is short and has no exponent, its value.
    #[inline]
    pub(super) fn number(&mut self) -> Option<(&'a str, Option<f64>)> {
        let start = self.at;
        let negative = self.minus();
        let mut value = self.digits(0)?;
        if is_padded(&self.bytes[start..self.at]) {
            return None;
        }
        let mut decimals = 0;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let point = self.at;
            value = self.digits(value)?;
            decimals = self.at - point;
        }
        let mut is_short = self.at - start <= FLOAT_DIGITS_MAX;
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            is_short = false;
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits(0)?;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
        let value = is_short.then(|| quotient(value, decimals)).map(|value| if negative { -value } else { value });
        Some((text, value))
    }
}

/// How many of eight bytes, at most `most`, are digits before another byte comes, and their value.
#[inline]
fn eight_digits(word: u64, most: usize) -> (usize, i64) {
    let digits = word ^ (ONES * 0x30);
    // The lowest byte that is marked is right; those above it may be marked by the carry.
    let others = (digits.wrapping_add(ONES * 0x76) | digits) & HIGHS;
    let count = ((others.trailing_zeros() / 8) as usize).min(most);
    if count == 0 {
        return (0, 0);
    }
    // Zeros in front, then neighbours are joined: bytes to pairs, pairs to fours, fours to all.
    let digits = digits << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let all = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (count, all.cast_signed())
}

/// Whether two texts of one length are the same; for names of usual length that takes two comparisons.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    match (one.first_chunk::<8>(), other.first_chunk::<8>(), one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(a), Some(b), Some(y), Some(z)) if one.len() <= 16 => a == b && y == z,
        _ => one == other,
    }
}

/// Both are exact, so the quotient is the nearest float.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "fifteen digits fit into 53 bits")]
fn quotient(value: i64, decimals: usize) -> f64 {
    value as f64 / TENS[decimals]
}

/// Whether whole digits begin with a zero that means nothing.
#[inline]
fn is_padded(digits: &[u8]) -> bool {
    matches!(digits, [b'0', _, ..] | [b'-', b'0', _, ..])
}
