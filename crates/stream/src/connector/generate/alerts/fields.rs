//! The fields of an alert's candidate and of the shorter records of its history, and what stands in each.
//!
//! Names and types are those of the public alert packets of the Zwicky Transient Facility, version 3.3. The values are
//! made up: plausible one by one, not as a whole.

use Presence::{Absent, Always, Detected};
use Rule::{Bad, Before, Candid, Dec, Filter, Image, Jd, Magnitude, Night, Null, Ra, Rarely, Real, Sign, Text, Whole};

/// One field.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether a candidate may lack it.
    pub(super) nullable: bool,
    pub(super) history: Presence,
    pub(super) rule: Rule,
}

/// Avro's primitive types, as far as alerts use them.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Int,
    Long,
    Float,
    Double,
    String,
}

/// Whether a field stands in the records of the history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not at all.
    Absent,
    /// In each.
    Always,
    /// In each, but null where nothing was detected.
    Detected,
}

/// What stands in a field.
pub(super) enum Rule {
    /// The Julian date of the exposure.
    Jd,
    /// A Julian date so many days before the exposure, least and most.
    Before(f64, f64),
    /// The filter, 1 to 3.
    Filter,
    /// The candidate's number, divided by this.
    Candid(i64),
    /// The name of the difference image.
    Image,
    /// `t` or `f`.
    Sign,
    /// The number of the night.
    Night,
    /// Near the object's right ascension.
    Ra,
    /// Near the object's declination.
    Dec,
    /// Near the candidate's magnitude, by so much.
    Magnitude(f64),
    /// The number of bad pixels: mostly none.
    Bad,
    /// Nothing.
    Null,
    /// The number -999 except for one in ten.
    Rarely(f64, f64),
    /// A whole number, least and most.
    Whole(i64, i64),
    /// A number, least and most.
    Real(f64, f64),
    /// Always this.
    Text(&'static str),
}

const fn must(name: &'static str, kind: Kind, history: Presence, rule: Rule) -> Field {
    Field { name, kind, nullable: false, history, rule }
}

const fn may(name: &'static str, kind: Kind, history: Presence, rule: Rule) -> Field {
    Field { name, kind, nullable: true, history, rule }
}

/// The fields of a candidate, in their order.
pub(super) static CANDIDATE: [Field; 103] = [
    must("jd", Kind::Double, Always, Jd),
    must("fid", Kind::Int, Always, Filter),
    must("pid", Kind::Long, Always, Candid(100)),
    may("diffmaglim", Kind::Float, Always, Real(19.0, 21.0)),
    may("pdiffimfilename", Kind::String, Always, Image),
    may("programpi", Kind::String, Always, Text("survey")),
    must("programid", Kind::Int, Always, Whole(1, 3)),
    must("candid", Kind::Long, Detected, Candid(1)),
    must("isdiffpos", Kind::String, Detected, Sign),
    may("tblid", Kind::Long, Always, Whole(0, 300)),
    may("nid", Kind::Int, Always, Night),
    may("rcid", Kind::Int, Always, Whole(0, 63)),
    may("field", Kind::Int, Always, Whole(245, 880)),
    may("xpos", Kind::Float, Detected, Real(0.0, 3072.0)),
    may("ypos", Kind::Float, Detected, Real(0.0, 3080.0)),
    must("ra", Kind::Double, Detected, Ra),
    must("dec", Kind::Double, Detected, Dec),
    must("magpsf", Kind::Float, Detected, Magnitude(0.0)),
    must("sigmapsf", Kind::Float, Detected, Real(0.02, 0.25)),
    may("chipsf", Kind::Float, Detected, Real(0.5, 5.0)),
    may("magap", Kind::Float, Detected, Magnitude(0.1)),
    may("sigmagap", Kind::Float, Detected, Real(0.01, 0.25)),
    may("distnr", Kind::Float, Detected, Real(0.05, 20.0)),
    may("magnr", Kind::Float, Detected, Real(13.0, 23.0)),
    may("sigmagnr", Kind::Float, Detected, Real(0.01, 0.2)),
    may("chinr", Kind::Float, Detected, Real(0.2, 3.0)),
    may("sharpnr", Kind::Float, Detected, Real(-0.5, 0.5)),
    may("sky", Kind::Float, Detected, Real(-1.5, 1.5)),
    may("magdiff", Kind::Float, Detected, Real(-1.0, 1.0)),
    may("fwhm", Kind::Float, Detected, Real(1.0, 5.0)),
    may("classtar", Kind::Float, Detected, Real(0.0, 1.0)),
    may("mindtoedge", Kind::Float, Detected, Real(10.0, 1536.0)),
    may("magfromlim", Kind::Float, Detected, Real(-0.5, 4.0)),
    may("seeratio", Kind::Float, Detected, Real(0.5, 2.0)),
    may("aimage", Kind::Float, Detected, Real(0.4, 1.6)),
    may("bimage", Kind::Float, Detected, Real(0.3, 1.2)),
    may("aimagerat", Kind::Float, Detected, Real(0.2, 0.8)),
    may("bimagerat", Kind::Float, Detected, Real(0.2, 0.7)),
    may("elong", Kind::Float, Detected, Real(1.0, 1.6)),
    may("nneg", Kind::Int, Detected, Whole(0, 10)),
    may("nbad", Kind::Int, Detected, Bad),
    may("rb", Kind::Float, Detected, Real(0.0, 1.0)),
    may("ssdistnr", Kind::Float, Detected, Rarely(0.0, 30.0)),
    may("ssmagnr", Kind::Float, Detected, Rarely(14.0, 21.0)),
    may("ssnamenr", Kind::String, Detected, Null),
    may("sumrat", Kind::Float, Detected, Real(0.3, 1.0)),
    may("magapbig", Kind::Float, Detected, Magnitude(0.2)),
    may("sigmagapbig", Kind::Float, Detected, Real(0.01, 0.3)),
    must("ranr", Kind::Double, Detected, Ra),
    must("decnr", Kind::Double, Detected, Dec),
    may("sgmag1", Kind::Float, Absent, Real(14.0, 23.0)),
    may("srmag1", Kind::Float, Absent, Real(14.0, 23.0)),
    may("simag1", Kind::Float, Absent, Real(14.0, 23.0)),
    may("szmag1", Kind::Float, Absent, Real(14.0, 23.0)),
    may("sgscore1", Kind::Float, Absent, Real(0.0, 1.0)),
    may("distpsnr1", Kind::Float, Absent, Real(0.05, 30.0)),
    must("ndethist", Kind::Int, Absent, Whole(1, 300)),
    must("ncovhist", Kind::Int, Absent, Whole(10, 2000)),
    may("jdstarthist", Kind::Double, Absent, Before(100.0, 900.0)),
    may("jdendhist", Kind::Double, Absent, Jd),
    may("scorr", Kind::Double, Detected, Real(5.0, 50.0)),
    may("tooflag", Kind::Int, Absent, Whole(0, 0)),
    may("objectidps1", Kind::Long, Absent, Whole(70_000_000_000_000_000, 190_000_000_000_000_000)),
    may("objectidps2", Kind::Long, Absent, Whole(70_000_000_000_000_000, 190_000_000_000_000_000)),
    may("sgmag2", Kind::Float, Absent, Real(14.0, 23.0)),
    may("srmag2", Kind::Float, Absent, Real(14.0, 23.0)),
    may("simag2", Kind::Float, Absent, Real(14.0, 23.0)),
    may("szmag2", Kind::Float, Absent, Real(14.0, 23.0)),
    may("sgscore2", Kind::Float, Absent, Real(0.0, 1.0)),
    may("distpsnr2", Kind::Float, Absent, Real(0.05, 30.0)),
    may("objectidps3", Kind::Long, Absent, Whole(70_000_000_000_000_000, 190_000_000_000_000_000)),
    may("sgmag3", Kind::Float, Absent, Real(14.0, 23.0)),
    may("srmag3", Kind::Float, Absent, Real(14.0, 23.0)),
    may("simag3", Kind::Float, Absent, Real(14.0, 23.0)),
    may("szmag3", Kind::Float, Absent, Real(14.0, 23.0)),
    may("sgscore3", Kind::Float, Absent, Real(0.0, 1.0)),
    may("distpsnr3", Kind::Float, Absent, Real(0.05, 30.0)),
    must("nmtchps", Kind::Int, Absent, Whole(0, 20)),
    must("rfid", Kind::Long, Absent, Whole(245_120_101, 880_120_163)),
    must("jdstartref", Kind::Double, Absent, Before(700.0, 900.0)),
    must("jdendref", Kind::Double, Absent, Before(300.0, 600.0)),
    must("nframesref", Kind::Int, Absent, Whole(15, 40)),
    must("rbversion", Kind::String, Always, Text("t17_f5_c3")),
    may("dsnrms", Kind::Float, Absent, Real(0.0, 40.0)),
    may("ssnrms", Kind::Float, Absent, Real(0.0, 60.0)),
    may("dsdiff", Kind::Float, Absent, Real(-30.0, 10.0)),
    may("magzpsci", Kind::Float, Detected, Real(25.5, 26.8)),
    may("magzpsciunc", Kind::Float, Detected, Real(0.000_001, 0.000_05)),
    may("magzpscirms", Kind::Float, Detected, Real(0.02, 0.06)),
    must("nmatches", Kind::Int, Absent, Whole(100, 2000)),
    may("clrcoeff", Kind::Float, Detected, Real(-0.1, 0.15)),
    may("clrcounc", Kind::Float, Detected, Real(0.000_001, 0.000_05)),
    may("zpclrcov", Kind::Float, Absent, Real(-0.000_01, 0.0)),
    may("zpmed", Kind::Float, Absent, Real(25.5, 26.8)),
    may("clrmed", Kind::Float, Absent, Real(0.4, 1.2)),
    may("clrrms", Kind::Float, Absent, Real(0.1, 0.5)),
    may("neargaia", Kind::Float, Absent, Real(0.05, 60.0)),
    may("neargaiabright", Kind::Float, Absent, Real(0.1, 90.0)),
    may("maggaia", Kind::Float, Absent, Real(12.0, 21.0)),
    may("maggaiabright", Kind::Float, Absent, Real(8.0, 14.0)),
    may("exptime", Kind::Float, Absent, Real(30.0, 30.0)),
    may("drb", Kind::Float, Absent, Real(0.0, 1.0)),
    must("drbversion", Kind::String, Absent, Text("d6_m7")),
];
