//! Made-up alerts in the shape of those that the Zwicky Transient Facility sends: one Avro container file each.
//!
//! An alert has a candidate of 103 fields, a history of earlier detections and upper limits, and three cutouts. The
//! cutouts begin as gzip does but hold random bytes: each is distinct, and none can be compressed.

use std::fmt::Write as _;
use std::sync::LazyLock;

use document::{ByteSize, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Moment;
use super::draw::{Draw, at, mix};

mod fields;

use fields::{CANDIDATE, Field, Kind, Presence, Rule};

const HISTORY_MAX: u32 = 1000;
const CUTOUT_BYTES_MAX: u64 = 16 << 20;
/// The objects that alerts are about; each has its own place in the sky.
const OBJECTS: i64 = 100_000;
/// What a night lasts, in days.
const NIGHT_DAYS: f64 = 10.0 / 24.0;
/// The Julian date from which nights are counted.
const NIGHT_ZERO_JD: f64 = 2_457_754.5;
/// The Julian date of 1970-01-01T00:00:00Z.
const EPOCH_JD: f64 = 2_440_587.5;

/// Made-up alerts, ZTF-shaped: one Avro container file a row, 60 to 80 KB by default.
///
/// About a hundred thousand objects take part, so that an object is seen more than once. `nbad` is 0 in about five of
/// six alerts, `rb` is even over 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// The mean size of a cutout, at most 16 MiB; each is drawn from three quarters to five quarters of it. Default
    /// `16KiB`. Make it small to try a stream with little data.
    pub cutout_bytes: ByteSize,
    /// The most records in `prv_candidates`, at most 1000; each alert has from none (then it is null) to this many.
    /// Default 30.
    pub history: u32,
    /// When the first night begins, as RFC 3339; a night lasts ten hours. Default `2026-01-01T02:00:00Z`.
    pub start: Moment,
    /// The number of nights. Alerts go to the nights in turn. Default 3.
    pub nights: u32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            cutout_bytes: ByteSize::from_bytes(16 << 10),
            history: 30,
            start: Moment::from_micros(1_767_232_800_000_000),
            nights: 3,
        }
    }
}

/// What is wrong with `spec`, which stands at `path` in the document.
pub(super) fn problems(spec: &Spec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.cutout_bytes.bytes() > CUTOUT_BYTES_MAX {
        let found = format!("{} bytes", spec.cutout_bytes.bytes());
        problems.push(Problem::at(format!("{path}.cutoutBytes")).found(found).expected("at most 16MiB"));
    }
    if spec.history > HISTORY_MAX {
        let found = spec.history.to_string();
        problems.push(Problem::at(format!("{path}.history")).found(found).expected("at most 1000"));
    }
    if spec.nights == 0 {
        problems.push(Problem::at(format!("{path}.nights")).found("0").expected("at least 1"));
    }
    problems
}

/// The Avro schema of every alert, as the containers carry it.
pub fn schema_json() -> &'static str {
    static SCHEMA: LazyLock<String> = LazyLock::new(|| {
        let fields = |history: bool| -> Vec<Value> {
            let present = |field: &&Field| !history || field.history != Presence::Absent;
            CANDIDATE.iter().filter(present).map(|field| field_json(field, history)).collect()
        };
        let record = |name: &str, fields: Vec<Value>| json!({"type": "record", "name": name, "namespace": "ztf.alert", "fields": fields});
        let optional = |name: &str, kind: Value| json!({"name": name, "type": ["null", kind], "default": null});
        let cutout = vec![json!({"name": "fileName", "type": "string"}), json!({"name": "stampData", "type": "bytes"})];
        json!({"type": "record", "name": "alert", "namespace": "ztf", "fields": [
            {"name": "schemavsn", "type": "string"},
            {"name": "publisher", "type": "string"},
            {"name": "objectId", "type": "string"},
            {"name": "candid", "type": "long"},
            {"name": "candidate", "type": record("candidate", fields(false))},
            optional("prv_candidates", json!({"type": "array", "items": record("prv_candidate", fields(true))})),
            optional("cutoutScience", record("cutout", cutout)),
            optional("cutoutTemplate", json!("ztf.alert.cutout")),
            optional("cutoutDifference", json!("ztf.alert.cutout")),
        ]})
        .to_string()
    });
    &SCHEMA
}

fn field_json(field: &Field, history: bool) -> Value {
    let kind = match field.kind {
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::String => "string",
    };
    if field.nullable || history && field.history == Presence::Detected {
        json!({"name": field.name, "type": ["null", kind], "default": null})
    } else {
        json!({"name": field.name, "type": kind})
    }
}

/// Alert number `row` of the default alerts that `seed` gives, as an Avro container file.
pub fn container(seed: u64, row: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Alerts::new(&Spec::default(), seed).write(row, &mut out);
    out
}

/// Writes alerts.
#[derive(Clone, Debug)]
pub struct Alerts {
    spec: Spec,
    seed: u64,
    /// What stands before the only block of every container, and the marker after it.
    header: Vec<u8>,
    sync: [u8; 16],
    /// The name of the difference image, of the alert that is being written.
    image: String,
}

/// What the fields of one record agree about.
#[derive(Clone, Copy)]
struct Seen {
    jd: f64,
    night: i64,
    candid: i64,
    ra: f64,
    dec: f64,
    magnitude: f64,
    /// In the history: whether the object was seen at all.
    detected: bool,
}

impl Alerts {
    /// The alerts that `seed` gives.
    pub fn new(spec: &Spec, seed: u64) -> Self {
        let mut sync = [0; 16];
        sync[..8].copy_from_slice(&mix(seed).to_le_bytes());
        sync[8..].copy_from_slice(&mix(!seed).to_le_bytes());
        let mut header = b"Obj\x01".to_vec();
        long(2, &mut header);
        for (key, value) in [("avro.schema", schema_json()), ("avro.codec", "null")] {
            text(key, &mut header);
            text(value, &mut header);
        }
        long(0, &mut header);
        header.extend_from_slice(&sync);
        Self { spec: spec.clone(), seed: mix(seed), header, sync, image: String::new() }
    }

    /// About how many bytes an alert takes, at most.
    pub fn bytes_max(&self) -> usize {
        let cutouts = self.cutout_bytes() / 4 * 5 + 100;
        self.header.len() + 3 * cutouts + self.spec.history as usize * 500 + 2000
    }

    /// Appends the container with alert number `row`. It depends on nothing but the seed and the number.
    pub fn write(&mut self, row: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
        long(1, out);
        // The block's length stands before the block and has three bytes where a block is 8 KiB to 1 MiB; others move.
        let place = out.len();
        out.extend_from_slice(&[0; 3]);
        let start = out.len();
        self.body(row, out);
        let mut length = Vec::with_capacity(9);
        long(i64::try_from(out.len() - start).unwrap_or(i64::MAX), &mut length);
        out.splice(place..start, length);
        out.extend_from_slice(&self.sync);
    }

    fn body(&mut self, row: u64, out: &mut Vec<u8>) {
        let mut draw = Draw::new(at(self.seed, row));
        let object = draw.whole(0, OBJECTS - 1);
        let seen = self.seen(row, object, &mut draw);
        text("3.3", out);
        text("headwater", out);
        self.object(object, out);
        long(seen.candid, out);
        self.image.clear();
        // Writing to a string can't fail.
        let _ = write!(self.image, "ztf_{:014}_scimrefdiffimg.fits", seen.candid / 100_000);
        for field in &CANDIDATE {
            self.field(field, field.nullable, &seen, &mut draw, out);
        }
        self.history(&seen, &mut draw, out);
        for cutout in ["scienceImage", "templateImage", "differenceImage"] {
            self.cutout(cutout, seen.candid, &mut draw, out);
        }
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "dates are small")]
    fn seen(&self, row: u64, object: i64, draw: &mut Draw) -> Seen {
        let first = EPOCH_JD + self.spec.start.micros() as f64 / 86_400e6;
        let turn = row % u64::from(self.spec.nights.max(1));
        let jd = first + turn as f64 + draw.real(0.0, NIGHT_DAYS);
        let night = (jd - NIGHT_ZERO_JD).floor() as i64;
        let candid = night.clamp(0, 9000) * 1_000_000_000_000_000 + (row % 1_000_000_000_000_000).cast_signed();
        let mut place = Draw::new(at(!self.seed, object.cast_unsigned()));
        let (ra, dec) = (place.real(0.0, 360.0), place.real(-30.0, 88.0));
        Seen { jd, night, candid, ra, dec, magnitude: draw.real(15.0, 20.5), detected: true }
    }

    /// Appends an object's name: two digits of a year and seven letters.
    fn object(&self, object: i64, out: &mut Vec<u8>) {
        let mut name = *b"ZTF18aaaaaaa";
        // A different order of letters under each seed, with no name twice: the step and 26^7 have no common divisor.
        let mut number = object * 7_654_321 + (self.seed % 11_881_376).cast_signed();
        for letter in name[7..].iter_mut().rev() {
            *letter = b'a' + u8::try_from(number % 26).unwrap_or(0);
            number /= 26;
        }
        long(12, out);
        out.extend_from_slice(&name);
    }

    fn history(&self, seen: &Seen, draw: &mut Draw, out: &mut Vec<u8>) {
        let count = draw.whole(0, i64::from(self.spec.history));
        if count == 0 {
            return long(0, out);
        }
        long(1, out);
        long(count, out);
        let mut days = 0.0;
        for _ in 0..count {
            days += draw.real(0.02, 2.0);
            let detected = draw.whole(0, 9) < 6;
            let magnitude = seen.magnitude + draw.real(-0.5, 0.5);
            let earlier = Seen { jd: seen.jd - days, candid: seen.candid - 1, magnitude, detected, ..*seen };
            for field in CANDIDATE.iter().filter(|field| field.history != Presence::Absent) {
                let nullable = field.nullable || field.history == Presence::Detected;
                self.field(field, nullable, &earlier, draw, out);
            }
        }
        long(0, out);
    }

    fn cutout(&self, name: &str, candid: i64, draw: &mut Draw, out: &mut Vec<u8>) {
        const GZIP: &[u8] = &[0x1f, 0x8b, 8, 0];
        let mean = i64::try_from(self.cutout_bytes()).unwrap_or(i64::MAX);
        let length = usize::try_from(draw.whole(mean / 4 * 3, mean / 4 * 5)).unwrap_or(0).max(GZIP.len());
        long(1, out);
        long(i64::try_from(6 + 19 + 1 + name.len() + 8).unwrap_or(0), out);
        out.extend_from_slice(b"candid");
        decimal(candid, out);
        out.push(b'_');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b".fits.gz");
        long(i64::try_from(length).unwrap_or(i64::MAX), out);
        out.extend_from_slice(GZIP);
        draw.fill(length - GZIP.len(), out);
    }

    fn cutout_bytes(&self) -> usize {
        usize::try_from(self.spec.cutout_bytes.bytes()).unwrap_or(usize::MAX)
    }

    fn field(&self, field: &Field, nullable: bool, seen: &Seen, draw: &mut Draw, out: &mut Vec<u8>) {
        let absent = matches!(field.rule, Rule::Null) || !seen.detected && field.history == Presence::Detected;
        if nullable {
            long(i64::from(!absent), out);
        }
        if absent {
            return;
        }
        match field.rule {
            Rule::Jd => number(field.kind, seen.jd, out),
            Rule::Before(least, most) => number(field.kind, seen.jd - draw.real(least, most), out),
            Rule::Filter => long([1, 1, 1, 1, 2, 2, 2, 2, 2, 3][usize::from(draw.word().to_le_bytes()[7] % 10)], out),
            Rule::Candid(divisor) => long(seen.candid / divisor, out),
            Rule::Image => text(&self.image, out),
            Rule::Sign => text(if draw.whole(0, 2) > 0 { "t" } else { "f" }, out),
            Rule::Night => long(seen.night, out),
            Rule::Ra => number(field.kind, seen.ra + draw.real(0.0, 0.0003), out),
            Rule::Dec => number(field.kind, seen.dec + draw.real(-0.0003, 0.0003), out),
            Rule::Magnitude(by) => number(field.kind, seen.magnitude + draw.real(-by, by), out),
            Rule::Bad => long((draw.whole(-20, 4)).max(0), out),
            Rule::Rarely(least, most) => {
                let value = if draw.whole(0, 9) == 0 { draw.real(least, most) } else { -999.0 };
                number(field.kind, value, out);
            }
            Rule::Whole(least, most) => long(draw.whole(least, most), out),
            Rule::Real(least, most) => number(field.kind, draw.real(least, most), out),
            Rule::Text(always) => text(always, out),
            Rule::Null => {}
        }
    }
}

/// Appends a number as Avro's `float` or `double`.
#[expect(clippy::cast_possible_truncation, reason = "a float holds seven digits")]
fn number(kind: Kind, value: f64, out: &mut Vec<u8>) {
    match kind {
        Kind::Double => out.extend_from_slice(&value.to_le_bytes()),
        _ => out.extend_from_slice(&(value as f32).to_le_bytes()),
    }
}

/// Appends a whole number as Avro's `int` and `long`: zigzag, seven bits a byte.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn text(value: &str, out: &mut Vec<u8>) {
    long(i64::try_from(value.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(value.as_bytes());
}

/// Appends nineteen digits.
fn decimal(value: i64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 19];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests;
