//! What is done to a query before it is planned: what can't run row by row is refused with its place, and what the
//! planner doesn't understand (`candidate.*`, `list[1].field`) is said in words that it does.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Fields};
use datafusion_sql::sqlparser::ast::{
    AccessExpr, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned, Statement,
    Subscript, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Span, Token};
use document::Problem;

use super::context::Table;
use super::problem::{self, Found};

const BY_ROW: &str = "a query that takes rows one by one: columns, expressions, WHERE, unnest, UNION ALL";
const AFTERWARDS: &str = "a stream has no last row: write the rows, and do this where they are read";

/// Reads a query.
pub(super) fn query(sql: &str, tables: &[Table], path: &str) -> Result<Statement, Vec<Problem>> {
    let syntax = |error: &ParserError| vec![syntax(error, sql).at(path)];
    let mut statements = Parser::new(&GenericDialect {})
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax(&error))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement @ Statement::Query(_)), true) => rewrite(statement, tables, path),
        (found, _) => {
            let found = if found.is_some() { "a statement that is not one SELECT" } else { "no statement" };
            Err(vec![Problem::at(path).found(found).expected("one SELECT")])
        }
    }
}

/// Reads an expression, as a query with one column.
pub(super) fn expression(sql: &str, tables: &[Table], path: &str) -> Result<Statement, Vec<Problem>> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(sql).and_then(|mut parser| {
        let expression = parser.parse_expr()?;
        parser.expect_token(&Token::EOF)?;
        Ok(expression)
    });
    let parsed = parsed.map_err(|error| vec![syntax(&error, sql).at(path)])?;
    let mut frame = Parser::parse_sql(&GenericDialect {}, "SELECT 0 AS value FROM input").unwrap_or_default();
    if let Some(Statement::Query(query)) = frame.first_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = vec![SelectItem::ExprWithAlias { expr: parsed, alias: Ident::with_quote('"', "value") }];
    }
    match frame.pop() {
        Some(statement) => rewrite(statement, tables, path),
        None => Err(vec![Problem::at(path).found("no expression").expected("one expression")]),
    }
}

fn syntax(error: &ParserError, sql: &str) -> Found {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
        ParserError::RecursionLimitExceeded => "more nesting than can be read".to_owned(),
    };
    // The parser says `Expected: x, found: y at Line: 1, Column: 8`.
    let (what, place) = message.split_once(" at Line: ").unwrap_or((&message, ""));
    let place = place.split_once(", Column: ").and_then(|(line, column)| line.parse().ok().zip(column.parse().ok()));
    let span = place.map_or_else(Span::empty, |(line, column)| problem::token_at(sql, line, column));
    let found = match what.strip_prefix("Expected: ").and_then(|what| what.split_once(", found: ")) {
        Some((expected, found)) => {
            Found::new(format!("`{found}`"), "a query in SQL").hint(format!("here it goes on with {expected}"))
        }
        None => Found::new(what, "a query in SQL"),
    };
    found.in_query(span)
}

fn rewrite(mut statement: Statement, tables: &[Table], path: &str) -> Result<Statement, Vec<Problem>> {
    let mut rewriter = Rewriter { tables, found: Vec::new() };
    let walked = statement.visit(&mut rewriter);
    if walked.is_continue() && rewriter.found.is_empty() {
        return Ok(statement);
    }
    Err(rewriter.found.into_iter().map(|found| found.at(path)).collect())
}

struct Rewriter<'a> {
    tables: &'a [Table],
    found: Vec<Found>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(order) = &query.order_by {
            self.refuse("ORDER BY", order.span(), AFTERWARDS);
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            let span = query.limit_clause.as_ref().map_or_else(Span::empty, Spanned::span);
            self.refuse("LIMIT", span, "to try a stream on few rows, run it with --until-idle on a small input");
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            self.refuse("WITH RECURSIVE", Span::empty(), "name the steps with WITH, or make a step of each");
        }
        self.set(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.clauses(select);
        self.tables_of(&select.from);
        self.columns(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                self.refuse(
                    "a subquery in an expression",
                    expr.span(),
                    "subqueries go into FROM: SELECT .. FROM (SELECT ..)",
                );
                return ControlFlow::Break(());
            }
            Expr::Function(function) => self.function(function),
            Expr::CompoundFieldAccess { access_chain, .. } => quote_fields(access_chain),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn refuse(&mut self, what: &str, span: Span, hint: &str) {
        self.found.push(Found::new(what, BY_ROW).in_query(span).hint(hint));
    }

    fn set(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } => {
                self.set(left);
                self.set(right);
                name_all(right);
            }
            SetExpr::SetOperation { op: SetOperator::Union, .. } => {
                self.refuse("UNION, which looks for equal rows", body.span(), "UNION ALL keeps all rows");
            }
            SetExpr::SetOperation { op, .. } => self.refuse(&op.to_string(), body.span(), AFTERWARDS),
            SetExpr::Values(_) => self.refuse("VALUES", body.span(), "rows come from sources: see `generate`"),
            _ => {}
        }
    }

    fn clauses(&mut self, select: &Select) {
        if let Some(Distinct::Distinct | Distinct::On(_)) = &select.distinct {
            self.refuse("DISTINCT", select.select_token.0.span, AFTERWARDS);
        }
        match &select.group_by {
            GroupByExpr::Expressions(by, _) if by.is_empty() => {}
            by => self.refuse("GROUP BY", by.span(), AFTERWARDS),
        }
        if let Some(having) = &select.having {
            self.refuse("HAVING", having.span(), "conditions on rows go into WHERE");
        }
        if let Some(qualify) = &select.qualify {
            self.refuse("QUALIFY", qualify.span(), AFTERWARDS);
        }
        if select.top.is_some() || select.into.is_some() || !select.lateral_views.is_empty() {
            self.refuse("TOP, INTO or LATERAL VIEW", select.select_token.0.span, "SELECT .. FROM .. WHERE ..");
        }
    }

    fn tables_of(&mut self, from: &[TableWithJoins]) {
        if from.is_empty() {
            self.refuse("a SELECT without FROM", Span::empty(), "rows come from the inputs: FROM input");
        }
        let joins = from.iter().flat_map(|table| &table.joins).map(|join| join.relation.span());
        let joined: Vec<Span> = joins.chain(from.iter().skip(1).map(|table| table.relation.span())).collect();
        for span in joined {
            self.refuse("a join", span, "one table per SELECT; for lists, SELECT unnest(list) AS name");
        }
        for table in from {
            if !matches!(table.relation, TableFactor::Table { args: None, .. } | TableFactor::Derived { .. }) {
                self.refuse(
                    "a table that is computed",
                    table.relation.span(),
                    "for lists, SELECT unnest(list) AS name",
                );
            }
        }
    }

    /// Gives each column its name, and `struct.*` its columns.
    fn columns(&mut self, select: &mut Select) {
        let mut columns = Vec::new();
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::UnnamedExpr(expr) => columns.push(self.named(expr)),
                other => match self.star(&other, &select.from) {
                    Some(fields) => columns.extend(fields),
                    None => columns.push(other),
                },
            }
        }
        let mut seen = BTreeSet::new();
        for column in &columns {
            if let SelectItem::ExprWithAlias { alias, expr } = column
                && !seen.insert(alias.value.clone())
            {
                self.found.push(problem::doubled(&alias.value).in_query(expr.span()));
            }
        }
        select.projection = columns;
    }

    fn named(&mut self, expr: Expr) -> SelectItem {
        let Some(name) = last_part(&expr) else {
            let what = format!("an expression without a name: {expr}");
            self.found
                .push(Found::new(what, "a name for each column").in_query(expr.span()).hint(format!("{expr} AS name")));
            return SelectItem::UnnamedExpr(expr);
        };
        SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
    }

    /// The columns that `struct.*` stands for.
    fn star(&mut self, item: &SelectItem, from: &[TableWithJoins]) -> Option<Vec<SelectItem>> {
        let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) = item else {
            return None;
        };
        let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let fields = self.fields(&parts, from)?;
        if !options.to_string().is_empty() {
            self.refuse("a part of a struct's fields", name.span(), "name the fields one by one");
        }
        Some(fields)
    }

    /// The columns of `path.*`, if `path` is a struct in the only table.
    fn fields(&self, path: &[Ident], from: &[TableWithJoins]) -> Option<Vec<SelectItem>> {
        let TableFactor::Table { name, alias, .. } = &from.first()?.relation else { return None };
        let name = name.0.last()?.as_ident()?.value.as_str();
        let table = self.tables.iter().find(|table| table.name == name)?;
        let visible = alias.as_ref().map_or(name, |alias| alias.name.value.as_str());
        let in_table = path.strip_prefix(&path[..usize::from(path.first()?.value == visible)])?;
        let mut fields: &Fields = table.schema.fields();
        let (_, _) = in_table.first().map(|first| fields.find(&first.value))??;
        for part in in_table {
            let DataType::Struct(children) = fields.find(&part.value)?.1.data_type() else { return None };
            fields = children;
        }
        let column = |field: &str| {
            let ident = Ident::with_quote('"', field);
            let expr = Expr::CompoundIdentifier(path.iter().cloned().chain([ident.clone()]).collect());
            SelectItem::ExprWithAlias { expr, alias: ident }
        };
        Some(fields.iter().map(|field| column(field.name())).collect())
    }

    fn function(&mut self, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        if function.over.is_some() {
            self.refuse(&format!("the window function {name}"), function.name.span(), AFTERWARDS);
        } else if AGGREGATES.contains(&name.as_str()) {
            let hint =
                "it takes many rows together; of the elements of a list there are array_length, array_min, array_max";
            self.refuse(&format!("the aggregate {name}"), function.name.span(), hint);
        }
    }
}

/// The columns of a union are named by its first query, so those of the others need no names.
fn name_all(body: &mut SetExpr) {
    let SetExpr::Select(select) = body else { return };
    for (number, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item {
            let alias = Ident::with_quote('"', format!("column {}", number + 1));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// The name a column has if none is given: the last part of its path.
fn last_part(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => last_part(inner),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let name = |access: &AccessExpr| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some(ident.value.clone()),
                AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => match &value.value {
                    Value::SingleQuotedString(name) => Some(name.clone()),
                    _ => None,
                },
                _ => None,
            };
            access_chain.iter().rev().find_map(name).or_else(|| last_part(root))
        }
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("unnest") => match &function.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] => last_part(inner),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// `[1].magpsf` is read as `[1]['magpsf']`. Dots at the front belong to the column's own path.
fn quote_fields(chain: &mut [AccessExpr]) {
    for access in chain.iter_mut().skip_while(|access| matches!(access, AccessExpr::Dot(_))) {
        if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
            let name = Value::SingleQuotedString(ident.value.clone()).into();
            *access = AccessExpr::Subscript(Subscript::Index { index: Expr::Value(name) });
        }
    }
}

/// Functions of many rows, by the names that people try.
const AGGREGATES: &[&str] = &[
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "last_value",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nth_value",
    "percentile_cont",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
];
