//! The functions of queries: DataFusion's, and ours beside and in place of them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion_functions::core::getfield::GetFieldFunc;
use stdx::Clock;

use super::{json, time};
use crate::step::nested;

/// All functions, by name in lower case.
pub(super) static ALL: LazyLock<BTreeMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let theirs = datafusion_functions::all_default_functions();
    let nested = datafusion_functions_nested::all_default_nested_functions();
    // Ours come last, so that they replace theirs of the same name.
    let ours = time::all(&Clock::system()).into_iter().chain(json::all());
    let mut all = BTreeMap::new();
    for function in theirs.into_iter().chain(nested).chain(ours) {
        for name in function.aliases() {
            all.insert(name.clone(), Arc::clone(&function));
        }
        all.insert(function.name().to_owned(), function);
    }
    all
});

/// What takes the place of a function when a query is opened.
pub(super) fn at_run(function: &ScalarUDF, clock: &Clock) -> Option<Arc<ScalarUDF>> {
    if function.inner().is::<GetFieldFunc>() {
        return Some(Arc::new(ScalarUDF::new_from_impl(GetField(GetFieldFunc::new()))));
    }
    time::at_run(function, clock)
}

/// Reaches into structs like DataFusion's `get_field`, which gives what the child holds even where the struct is null.
#[derive(Debug, PartialEq, Eq, Hash)]
struct GetField(GetFieldFunc);

impl ScalarUDFImpl for GetField {
    fn name(&self) -> &'static str {
        "get_field"
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((ColumnarValue::Array(base), names)) = arguments.args.split_first() else {
            return self.0.invoke_with_args(arguments);
        };
        let mut value = Arc::clone(base);
        for name in names {
            match into(&value, name)? {
                Some(child) => value = child,
                None => return self.0.invoke_with_args(arguments),
            }
        }
        Ok(ColumnarValue::Array(value))
    }
}

/// A field of a struct; `None` for what is no struct.
fn into(value: &ArrayRef, name: &ColumnarValue) -> Result<Option<ArrayRef>> {
    let (Some(parent), ColumnarValue::Scalar(name)) = (value.as_struct_opt(), name) else { return Ok(None) };
    let name = name.try_as_str().flatten().unwrap_or_default();
    let found = parent.fields().find(name).map(|(index, _)| index);
    let index = found.ok_or_else(|| DataFusionError::Execution(format!("Field {name} not found in struct")))?;
    Ok(Some(nested::field(parent, index)?))
}

/// The arguments as arrays of one length.
pub(super) fn arrays(arguments: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    let rows = arguments.number_rows;
    arguments.args.iter().map(|argument| argument.to_array(rows)).collect()
}

/// An array of one value as a scalar where all arguments were scalars, so that constants can be folded.
pub(super) fn value(array: ArrayRef, arguments: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    if constant && !arguments.args.is_empty() && !array.is_empty() {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
    }
    Ok(ColumnarValue::Array(array))
}
