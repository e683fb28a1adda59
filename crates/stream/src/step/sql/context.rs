//! What the planner is told of the world: tables, functions, options.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableProviderFilterPushDown, TableSource, WindowUDF,
};
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::Statement;

use super::super::{Edge, nearest};
use super::functions;
use super::problem::Found;

/// The table that stands for all inputs.
pub(super) const INPUT: &str = "input";

/// What a name in FROM stands for.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    /// The inputs whose rows it has.
    pub(super) inputs: Vec<usize>,
}

/// The tables of a step: one per input, and `input` for all of them where their columns agree.
pub(super) fn tables(inputs: &[Edge]) -> Result<Vec<Table>, Found> {
    let Some(first) = inputs.first() else { return Err(Found::new("no input", "the name of a source or step")) };
    let table = |(number, edge): (usize, &Edge)| Table {
        name: edge.name.clone(),
        schema: Arc::clone(&edge.schema),
        inputs: vec![number],
    };
    let mut tables: Vec<Table> = inputs.iter().enumerate().map(table).collect();
    let same = inputs.iter().all(|edge| edge.schema.fields() == first.schema.fields());
    if same && inputs.iter().all(|edge| edge.name != INPUT) {
        let all = (0..inputs.len()).collect();
        tables.push(Table { name: INPUT.to_owned(), schema: Arc::clone(&first.schema), inputs: all });
    }
    Ok(tables)
}

/// Plans a statement, to a plan that is as small as it gets.
pub(super) fn optimise(statement: Statement, tables: &[Table]) -> Result<LogicalPlan> {
    let context = Context { tables };
    let options = ParserOptions::new()
        .with_enable_ident_normalization(false)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true);
    let plan = SqlToRel::new_with_options(&context, options).sql_statement_to_plan(statement)?;
    let plan = Analyzer::new().execute_and_check(plan, &OPTIONS, |_, _| {})?;
    // Without a start time nothing that depends on the time is made a constant.
    let context = OptimizerContext::new_with_config_options(Arc::clone(&OPTIONS))
        .without_query_execution_start_time()
        .with_skip_failing_rules(false);
    Optimizer::new().optimize(plan, &context, |_, _| {})
}

static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| Arc::new(ConfigOptions::default()));

static PLANNERS: LazyLock<Vec<Arc<dyn ExprPlanner>>> = LazyLock::new(|| {
    vec![
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
        Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
        Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
        Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
    ]
});

struct Context<'a> {
    tables: &'a [Table],
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let wanted = name.table();
        let found = self.tables.iter().find(|table| table.name == wanted && name.schema().is_none());
        found.map(|table| Arc::new(Source(Arc::clone(&table.schema))) as Arc<dyn TableSource>).ok_or_else(|| {
            let names = || self.tables.iter().map(|table| table.name.as_str());
            let near = nearest(wanted, names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let known: Vec<_> = names().collect();
            DataFusionError::Plan(format!("table `{name}`, the tables are {}{near}", known.join(", ")))
        })
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &PLANNERS
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::ALL.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &OPTIONS
    }

    fn udf_names(&self) -> Vec<String> {
        functions::ALL.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Rows that are pushed through: filters go into the scan, where they run before columns are copied.
#[derive(Debug)]
struct Source(SchemaRef);

impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
}
