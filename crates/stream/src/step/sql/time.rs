//! Functions of time: Julian dates, and a clock that is read for each batch.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use stdx::Clock;

use super::functions::{arrays, value};

/// UTC, written as an offset: names of zones need a table of zones.
const UTC: &str = "+00:00";
const MICROS_PER_DAY: f64 = 86_400e6;
/// The Julian date of 1970-01-01T00:00:00Z.
const UNIX_JD: f64 = 2_440_587.5;
/// The modified Julian date of 1970-01-01T00:00:00Z.
const UNIX_MJD: f64 = 40_587.0;

/// The functions of this file.
pub(super) fn all(clock: &Clock) -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::new_from_impl(DateToTimestamp::new("jd_to_timestamp", Start::Jd))),
        Arc::new(ScalarUDF::new_from_impl(DateToTimestamp::new("mjd_to_timestamp", Start::Mjd))),
        Arc::new(ScalarUDF::new_from_impl(Now::new(What::Timestamp, clock))),
        Arc::new(ScalarUDF::new_from_impl(Now::new(What::Date, clock))),
    ]
}

/// The same function over `clock`.
pub(super) fn at_run(function: &ScalarUDF, clock: &Clock) -> Option<Arc<ScalarUDF>> {
    let now = function.inner().downcast_ref::<Now>()?;
    Some(Arc::new(ScalarUDF::new_from_impl(Now::new(now.what, clock))))
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// `jd_to_timestamp(days)` and `mjd_to_timestamp(days)`: the moment of a (modified) Julian date, in microseconds UTC.
/// A date that is null or no number gives null; one beyond the range of microseconds is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateToTimestamp {
    name: &'static str,
    start: Start,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Start {
    Jd,
    Mjd,
}

impl DateToTimestamp {
    fn new(name: &'static str, start: Start) -> Self {
        Self { name, start, signature: Signature::exact(vec![DataType::Float64], Volatility::Immutable) }
    }

    fn micros(&self, date: f64) -> Result<Option<i64>> {
        let unix = match self.start {
            Start::Jd => UNIX_JD,
            Start::Mjd => UNIX_MJD,
        };
        // The difference of close numbers is exact, so nothing is lost before it is scaled up.
        let micros = ((date - unix) * MICROS_PER_DAY).round();
        if date.is_nan() {
            return Ok(None);
        }
        if micros.abs() >= 9.0e18 {
            return Err(DataFusionError::Execution(format!("{}: {date} is out of range", self.name)));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the range was checked, and the number is whole")]
        Ok(Some(micros as i64))
    }
}

impl ScalarUDFImpl for DateToTimestamp {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let dates = arrays(&arguments)?;
        let dates = dates[0].as_primitive::<Float64Type>();
        let micros = dates.iter().map(|date| date.map_or(Ok(None), |date| self.micros(date)));
        let micros: TimestampMicrosecondArray = micros.collect::<Result<_>>()?;
        value(Arc::new(micros.with_timezone(UTC)) as ArrayRef, &arguments)
    }
}

/// `now()`, `current_timestamp`: the moment a batch is worked on; `current_date()`, `today()`: its date in UTC.
#[derive(Debug)]
struct Now {
    what: What,
    clock: Clock,
    aliases: Vec<String>,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Timestamp,
    Date,
}

impl Now {
    fn new(what: What, clock: &Clock) -> Self {
        let alias = match what {
            What::Timestamp => "current_timestamp",
            What::Date => "today",
        };
        // Volatile: planning must not make a constant of it.
        let signature = Signature::nullary(Volatility::Volatile);
        Self { what, clock: clock.clone(), aliases: vec![alias.to_owned()], signature }
    }
}

impl PartialEq for Now {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what
    }
}

impl Eq for Now {}

impl Hash for Now {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.what.hash(state);
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        match self.what {
            What::Timestamp => "now",
            What::Date => "current_date",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::Timestamp => timestamp(),
            What::Date => DataType::Date32,
        })
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let micros = self.clock.now().micros();
        Ok(ColumnarValue::Scalar(match self.what {
            What::Timestamp => ScalarValue::TimestampMicrosecond(Some(micros), Some(UTC.into())),
            What::Date => ScalarValue::Date32(i32::try_from(micros.div_euclid(86_400_000_000)).ok()),
        }))
    }
}
