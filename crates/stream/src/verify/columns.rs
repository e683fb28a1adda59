//! Made-up rows of any schema. A value depends on the seed, its column and the row's number, and on nothing else.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, ListArray, MapArray,
    NullArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, interleave, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use serde_json::Value;

/// Rows at the beginning that have no nulls, so that a schema can be inferred from them.
const WHOLE_ROWS: u64 = 64;
/// One value of so many is null, where it may be.
const NULL_ONE_OF: u64 = 10;
/// Items of a list or map, at most.
const ITEMS_MAX: u64 = 3;
/// Words that come often, so that a filter or a partition by text keeps something.
const WORDS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
/// 2026-01-01 in seconds since 1970.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// How rows are made up.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// What the values depend on.
    pub seed: u64,
    /// Rows whose values every second row takes, as far as they have any: those of fixtures.
    pub given: Vec<Value>,
    /// Columns of few values: those that folders are named after.
    pub few: Vec<String>,
    /// Texts that shall be among the values: those that queries compare with.
    pub words: Vec<String>,
}

/// Rows number `from` up to `from + count`. One column holds the row's number, where a column can.
pub fn rows(schema: &SchemaRef, recipe: &Recipe, from: u64, count: u64) -> Result<RecordBatch, ArrowError> {
    let numbers: Vec<u64> = (from..from + count).collect();
    let is_few = |field: &Field| recipe.few.contains(field.name());
    let numbered = numbered(schema.fields(), &is_few);
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        if Some(index) == numbered {
            return numbers_as(field.data_type(), &numbers);
        }
        let maker = Maker { seed: recipe.seed, path: field.name(), is_few: is_few(field), words: &recipe.words };
        templated(field, maker.column(field, &numbers)?, &recipe.given, &numbers)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The column that holds the row's number: one that is called an id, otherwise text, otherwise whole numbers.
fn numbered(fields: &Fields, is_few: &dyn Fn(&Field) -> bool) -> Option<usize> {
    use DataType::{Int32, Int64, LargeUtf8, UInt32, UInt64, Utf8, Utf8View};
    let is_text = |field: &FieldRef| matches!(field.data_type(), Utf8 | LargeUtf8 | Utf8View);
    let is_whole = |field: &FieldRef| matches!(field.data_type(), Int32 | Int64 | UInt32 | UInt64);
    let is_id = |field: &FieldRef| field.name().to_lowercase().ends_with("id") && (is_text(field) || is_whole(field));
    let find = |wanted: &dyn Fn(&FieldRef) -> bool| fields.iter().position(|field| wanted(field) && !is_few(field));
    find(&is_id).or_else(|| find(&is_text)).or_else(|| find(&is_whole))
}

fn numbers_as(data_type: &DataType, numbers: &[u64]) -> Result<ArrayRef, ArrowError> {
    if matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return cast(&StringArray::from_iter_values(numbers.iter().map(|number| format!("row-{number}"))), data_type);
    }
    cast(&Int64Array::from_iter_values(numbers.iter().map(|number| number.cast_signed())), data_type)
}

/// `made`, where every second row takes the value of a given row that has one.
fn templated(field: &Field, made: ArrayRef, given: &[Value], numbers: &[u64]) -> Result<ArrayRef, ArrowError> {
    let with: Vec<&Value> = given.iter().filter(|row| row.get(field.name()).is_some_and(|it| !it.is_null())).collect();
    // A value that doesn't fit its column is the fixture's matter, not ours.
    let Some(templates) = decoded(field, &with).filter(|array| array.len() == with.len() && !with.is_empty()) else {
        return Ok(made);
    };
    let pick = |(row, number): (usize, &u64)| {
        let template = usize::try_from(number / 2).unwrap_or(0) % with.len();
        if number % 2 == 1 && !templates.is_null(template) { (1, template) } else { (0, row) }
    };
    let picked: Vec<(usize, usize)> = numbers.iter().enumerate().map(pick).collect();
    interleave(&[&made, &templates], &picked)
}

fn decoded(field: &Field, rows: &[&Value]) -> Option<ArrayRef> {
    let field = field.clone().with_nullable(true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut decoder = ReaderBuilder::new(schema).with_batch_size(rows.len().max(1)).build_decoder().ok()?;
    decoder.serialize(rows).ok()?;
    Some(Arc::clone(decoder.flush().ok()??.column(0)))
}

struct Maker<'a> {
    seed: u64,
    /// The names from the outermost column inwards.
    path: &'a str,
    /// Whether there shall be few values.
    is_few: bool,
    words: &'a [String],
}

impl Maker<'_> {
    fn draw(&self, number: u64) -> fastrand::Rng {
        let column = stdx::hash(self.path.as_bytes());
        fastrand::Rng::with_seed(self.seed.rotate_left(17) ^ column ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn column(&self, field: &Field, numbers: &[u64]) -> Result<ArrayRef, ArrowError> {
        let array = self.values(field, numbers)?;
        if !field.is_nullable() || matches!(field.data_type(), DataType::Null) {
            return Ok(array);
        }
        let is_null = |number: &u64| *number >= WHOLE_ROWS && self.draw(!*number).u64(..NULL_ONE_OF) == 0;
        nullif(&array, &numbers.iter().map(|number| Some(is_null(number))).collect::<BooleanArray>())
    }

    fn values(&self, field: &Field, numbers: &[u64]) -> Result<ArrayRef, ArrowError> {
        let each = || numbers.iter().map(|number| self.draw(*number));
        let data_type = field.data_type();
        Ok(match data_type {
            DataType::Null => Arc::new(NullArray::new(numbers.len())),
            DataType::Boolean => Arc::new(each().map(|mut draw| Some(draw.bool())).collect::<BooleanArray>()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                cast(&StringArray::from_iter_values(each().map(|draw| self.text(draw))), data_type)?
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                cast(&BinaryArray::from_iter_values(each().map(|draw| self.text(draw))), data_type)?
            }
            DataType::FixedSizeBinary(length) => {
                let length = usize::try_from(*length).unwrap_or(0);
                let bytes = |mut draw: fastrand::Rng| (0..length).map(|_| draw.u8(..)).collect::<Vec<u8>>();
                Arc::new(FixedSizeBinaryArray::try_from_iter(each().map(bytes))?)
            }
            DataType::Struct(fields) => {
                let inner = fields.iter().map(|field| self.inside(field, numbers));
                Arc::new(StructArray::new(fields.clone(), inner.collect::<Result<_, _>>()?, None))
            }
            DataType::List(item) => {
                let (offsets, items) = self.items(numbers);
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, self.inside(item, &items)?, None)?)
            }
            DataType::LargeList(item) => {
                let list = Field::new(field.name(), DataType::List(Arc::clone(item)), field.is_nullable());
                cast(&self.values(&list, numbers)?, data_type)?
            }
            DataType::Map(entries, is_sorted) => self.map(entries, *is_sorted, numbers)?,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                let value = |mut draw: fastrand::Rng| match draw.bool() {
                    _ if self.is_few => f64::from(draw.u8(..4)),
                    true => draw.f64(),
                    false => draw.f64() * 1000.0,
                };
                cast(&Float64Array::from_iter_values(each().map(value)), data_type)?
            }
            _ => {
                let whole = Int64Array::from_iter_values(each().map(|draw| whole(draw, data_type, self.is_few)));
                match through(&whole, data_type) {
                    Err(_) if field.is_nullable() => new_null_array(data_type, numbers.len()),
                    made => made?,
                }
            }
        })
    }

    /// One of a few words, or letters: the former half of the time, so that a filter such as `= 'paid'` keeps something.
    fn text(&self, mut draw: fastrand::Rng) -> String {
        if draw.bool() || self.is_few {
            let words = || WORDS.into_iter().chain(self.words.iter().map(String::as_str));
            let chosen = words().nth(draw.usize(..WORDS.len() + self.words.len()));
            return chosen.unwrap_or_default().to_owned();
        }
        (0..12).map(|_| draw.lowercase()).collect()
    }

    fn inside(&self, field: &Field, numbers: &[u64]) -> Result<ArrayRef, ArrowError> {
        let path = format!("{}.{}", self.path, field.name());
        Maker { path: &path, ..*self }.column(field, numbers)
    }

    /// Where the items of each row end, and a number for each item.
    fn items(&self, numbers: &[u64]) -> (OffsetBuffer<i32>, Vec<u64>) {
        let (mut lengths, mut items) = (Vec::new(), Vec::new());
        for number in numbers {
            let fewest = u64::from(*number < WHOLE_ROWS);
            let length = self.draw(*number).u64(fewest..=ITEMS_MAX);
            items.extend((0..length).map(|item| number * (ITEMS_MAX + 1) + item));
            lengths.push(usize::try_from(length).unwrap_or(0));
        }
        (OffsetBuffer::from_lengths(lengths), items)
    }

    fn map(&self, entries: &FieldRef, is_sorted: bool, numbers: &[u64]) -> Result<ArrayRef, ArrowError> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(ArrowError::SchemaError(format!("a map of {}", entries.data_type())));
        };
        let (offsets, items) = self.items(numbers);
        let [key, value] = &fields[..] else {
            return Err(ArrowError::SchemaError("a map without keys and values".into()));
        };
        let keys = cast(&numbers_as(&DataType::Utf8, &items)?, key.data_type())?;
        let columns = vec![keys, self.inside(value, &items)?];
        let inner = StructArray::try_new(fields.clone(), columns, None)?;
        let map = MapArray::try_new(Arc::clone(entries), offsets, inner, None, is_sorted)?;
        Ok(Arc::new(map))
    }
}

/// A whole number that suits a type: half of them small, so that a filter such as `= 0` keeps something.
fn whole(mut draw: fastrand::Rng, data_type: &DataType, is_few: bool) -> i64 {
    let day = EPOCH_SECONDS + draw.i64(0..3) * 86_400;
    let seconds = if is_few { day } else { day + draw.i64(0..86_400) };
    match data_type {
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => seconds,
            TimeUnit::Millisecond => seconds * 1000,
            TimeUnit::Microsecond => seconds * 1_000_000,
            TimeUnit::Nanosecond => seconds * 1_000_000_000,
        },
        DataType::Date32 => seconds / 86_400,
        DataType::Date64 => seconds / 86_400 * 86_400_000,
        DataType::Time32(TimeUnit::Second) => seconds % 86_400,
        DataType::Time32(_) => seconds % 86_400 * 1000,
        DataType::Time64(TimeUnit::Microsecond) => seconds % 86_400 * 1_000_000,
        DataType::Time64(_) => seconds % 86_400 * 1_000_000_000,
        _ if is_few || draw.bool() => draw.i64(0..4),
        DataType::Int8 | DataType::UInt8 => draw.i64(0..100),
        DataType::Int16 | DataType::UInt16 | DataType::Decimal128(..) | DataType::Decimal256(..) => draw.i64(0..30_000),
        DataType::Int32 | DataType::UInt32 => draw.i64(0..1_000_000_000),
        _ => draw.i64(0..1 << 53),
    }
}

fn through(whole: &Int64Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match data_type {
        DataType::Date32 | DataType::Time32(_) => cast(&cast(whole, &DataType::Int32)?, data_type),
        _ => cast(whole, data_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray as _;
    use serde_json::json;

    fn schema() -> SchemaRef {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let inner = Fields::from(vec![Field::new("candid", DataType::Int64, false)]);
        let types = [
            ("objectId", DataType::Utf8),
            ("small", DataType::Int8),
            ("when", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
            ("day", DataType::Date32),
            ("price", DataType::Decimal128(10, 2)),
            ("list", DataType::List(item)),
            ("inner", DataType::Struct(inner)),
            ("raw", DataType::Binary),
            ("flag", DataType::Boolean),
        ];
        Arc::new(Schema::new(types.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
    }

    #[test]
    fn rows_depend_on_nothing_but_seed_and_number() {
        let recipe = |seed| Recipe { seed, ..Recipe::default() };
        let whole = rows(&schema(), &recipe(7), 0, 300).unwrap();
        assert_eq!(whole.slice(100, 50), rows(&schema(), &recipe(7), 100, 50).unwrap());
        assert_ne!(whole, rows(&schema(), &recipe(8), 0, 300).unwrap());
        assert_eq!(whole.column(0).as_string::<i32>().value(299), "row-299");
        let nulls: Vec<bool> = whole.columns()[1..].iter().map(|column| column.null_count() > 0).collect();
        assert_eq!(nulls, [true; 8], "later rows have nulls");
        assert_eq!(whole.slice(0, 64).columns().iter().map(Array::null_count).sum::<usize>(), 0);
    }

    #[test]
    fn every_second_row_takes_what_is_given() {
        let recipe = |given: &[Value]| Recipe { seed: 1, given: given.to_vec(), ..Recipe::default() };
        let given = [json!({"small": 42, "objectId": "never"}), json!({"small": 43}), json!({"small": "no number"})];
        let made = rows(&schema(), &recipe(&given[..2]), 0, 8).unwrap();
        let small = made.column(1).as_primitive::<arrow::datatypes::Int8Type>().values().to_vec();
        assert_eq!([small[1], small[3], small[5]], [42, 43, 42]);
        assert_eq!(made.column(0).as_string::<i32>().value(1), "row-1");
        let ignored = rows(&schema(), &recipe(&given[2..]), 0, 8).unwrap();
        assert_eq!(ignored, rows(&schema(), &recipe(&[]), 0, 8).unwrap());
    }

    #[test]
    fn texts_that_queries_compare_with_are_among_the_values() {
        let words = vec!["paid".to_owned()];
        let made = rows(
            &Arc::new(Schema::new(vec![
                Field::new("id", DataType::Int64, false),
                Field::new("state", DataType::Utf8, true),
            ])),
            &Recipe { words, ..Recipe::default() },
            0,
            500,
        )
        .unwrap();
        let paid = made.column(1).as_string::<i32>().iter().filter(|text| *text == Some("paid")).count();
        assert!((20..100).contains(&paid), "{paid} of 500 rows");
    }

    #[test]
    fn columns_that_name_folders_have_few_values() {
        let few = vec!["objectId".to_owned(), "small".to_owned()];
        let made = rows(&schema(), &Recipe { seed: 1, few, ..Recipe::default() }, 0, 500).unwrap();
        let texts: std::collections::BTreeSet<_> = made.column(0).as_string::<i32>().iter().collect();
        let small = made.column(1).as_primitive::<arrow::datatypes::Int8Type>();
        assert!(texts.len() <= 5 && small.iter().flatten().all(|value| (0..4).contains(&value)), "{texts:?}");
    }
}
