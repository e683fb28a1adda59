//! The place in a body that is being read, and what can be wrong there.

/// Values without bytes (nulls, empty records) that one message may hold: counts of others are bounded by the bytes.
pub(super) const EMPTY_VALUES_MAX: usize = 1 << 20;

/// What was wrong, and where. One word, because every value that is read returns room for it.
#[derive(Debug)]
pub(super) struct Fault(Box<Wrong>);

#[derive(Debug)]
struct Wrong {
    at: usize,
    what: String,
    fields: Vec<String>,
}

impl Fault {
    /// This fault, seen from the record that holds the field.
    pub(super) fn within(mut self, field: &str) -> Self {
        self.0.fields.push(field.to_owned());
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Wrong { at, what, fields } = &*self.0;
        write!(f, "byte {at}: ")?;
        if !fields.is_empty() {
            let path: Vec<&str> = fields.iter().rev().map(String::as_str).collect();
            write!(f, "field `{}`: ", path.join("."))?;
        }
        f.write_str(what)
    }
}

/// What remains of a body.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    length: usize,
    empty_left: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, length: body.len(), empty_left: EMPTY_VALUES_MAX }
    }

    /// Bytes that remain.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// A fault at this place.
    #[cold]
    pub(super) fn fault(&self, what: impl Into<String>) -> Fault {
        Fault(Box::new(Wrong { at: self.length - self.rest.len(), what: what.into(), fields: Vec::new() }))
    }

    /// A whole number, as Avro writes `int`, `long`, counts and lengths.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(unzigzag(u64::from(*byte)))
            }
            _ => self.long_slow(),
        }
    }

    fn long_slow(&mut self) -> Result<i64, Fault> {
        let mut number = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if index == 9 && *byte > 1 {
                break;
            }
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(unzigzag(number));
            }
        }
        if self.rest.len() < 10 {
            return Err(self.fault("the bytes end within a number"));
        }
        Err(self.fault("a number is longer than 64 bits"))
    }

    /// A whole number of 32 bits.
    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| self.fault(format!("the int {number} is longer than 32 bits")))
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.fault(format!("{count} bytes are announced and {} remain", self.rest.len()))),
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.fault(format!("a value of {N} bytes is cut off after {}", self.rest.len()))),
        }
    }

    /// A length, then so many bytes.
    #[inline]
    pub(super) fn blob(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(self.fault(format!("the length {length} is negative"))),
        }
    }

    /// A truth value.
    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.fault(format!("a boolean is {other}, not 0 or 1"))),
        }
    }

    /// The head of the next run of items: how many, and how many bytes where the writer says so; 0 at the end.
    #[inline]
    pub(super) fn items(&mut self, bytes_min: usize) -> Result<(usize, Option<usize>), Fault> {
        let count = self.long()?;
        let mut bytes = None;
        if count < 0 {
            let length = self.long()?;
            let fits = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
            if fits.is_none() {
                let left = self.rest.len();
                return Err(self.fault(format!("items announce {length} bytes and {left} remain")));
            }
            bytes = fits;
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        self.bounded(count, bytes_min)?;
        Ok((count, bytes))
    }

    /// Refuses a count that the remaining bytes can't hold.
    pub(super) fn bounded(&mut self, count: usize, bytes_min: usize) -> Result<(), Fault> {
        if bytes_min == 0 {
            match self.empty_left.checked_sub(count) {
                Some(left) => self.empty_left = left,
                None => {
                    return Err(self.fault(format!("more than {EMPTY_VALUES_MAX} values without bytes in a message")));
                }
            }
        } else if count > self.rest.len() / bytes_min {
            return Err(self.fault(format!("{count} values are announced and {} bytes remain", self.rest.len())));
        }
        Ok(())
    }
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}
