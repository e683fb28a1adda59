use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Field, Fields, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use stdx::{Clock, Timestamp};

use super::super::{Edge, Planned, Stepped};
use super::{expression, plan};
use crate::ReasonCode;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn structs(columns: Vec<(&str, ArrayRef)>, nulls: Option<NullBuffer>) -> StructArray {
    let fields: Fields = columns.iter().map(|(name, array)| field(name, array.data_type().clone())).collect();
    StructArray::try_new(fields, columns.into_iter().map(|(_, array)| array).collect(), nulls).unwrap()
}

/// Four alerts; the last has no candidate, though its children hold values.
fn alerts() -> RecordBatch {
    let candidate = structs(
        vec![
            ("jd", Arc::new(Float64Array::from(vec![2_440_587.5, 2_458_849.75, 2_458_850.5, 0.0])) as ArrayRef),
            ("rb", Arc::new(Float64Array::from(vec![0.9, 0.5, 0.6, 0.99]))),
            ("nbad", Arc::new(Int32Array::from(vec![0, 0, 0, 0]))),
        ],
        Some(NullBuffer::from(vec![true, true, true, false])),
    );
    let previous = structs(
        vec![("magpsf", Arc::new(Float64Array::from(vec![Some(17.5), Some(18.5), None, Some(20.0)])) as ArrayRef)],
        None,
    );
    let element = Arc::new(field("item", previous.data_type().clone()));
    let offsets = OffsetBuffer::from_lengths([2, 0, 1, 1]);
    let lists =
        ListArray::new(element, offsets, Arc::new(previous), Some(NullBuffer::from(vec![true, true, true, false])));
    RecordBatch::try_from_iter_with_nullable([
        ("objectId", Arc::new(StringArray::from(vec!["ZTF1", "ZTF2", "ZTF3", "ZTF4"])) as ArrayRef, true),
        ("candid", Arc::new(Int64Array::from(vec![1, 2, 3, 4])), true),
        ("candidate", Arc::new(candidate), true),
        ("prv_candidates", Arc::new(lists), true),
        (
            "text",
            Arc::new(StringArray::from(vec![r#"{"a": {"b": [10, 2.5, "x"]}, "ok": true}"#, "{bad", "[]", "7"])),
            true,
        ),
    ])
    .unwrap()
}

fn edge(name: &str, schema: &SchemaRef) -> Edge {
    Edge { name: name.to_owned(), schema: Arc::clone(schema), pruned: false }
}

fn planned(sql: &str) -> Planned {
    plan(sql, &[edge("alerts", &alerts().schema())], "p").unwrap()
}

fn clock() -> Clock {
    Clock::manual(Timestamp::default())
}

fn run(sql: &str) -> Stepped {
    let planned = planned(sql);
    let out = planned.open(&clock()).unwrap().run(0, &alerts()).unwrap();
    assert_eq!(out.columns.schema(), planned.schema);
    out
}

/// The rows as text, values parted by `|`.
fn show(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<_> =
        batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

fn rows(sql: &str) -> Vec<String> {
    show(&run(sql).columns)
}

fn before(stepped: &Stepped) -> Vec<usize> {
    (0..stepped.columns.num_rows()).map(|row| stepped.rows.before(row)).collect()
}

fn names(planned: &Planned) -> Vec<String> {
    planned.schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn problem(sql: &str) -> document::Problem {
    let problems = plan(sql, &[edge("alerts", &alerts().schema())], "p").unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

fn reads(sql: &str) -> Option<Vec<String>> {
    planned(sql).reads[0].as_ref().map(|reads| reads.iter().map(|path| path.join(".")).collect())
}

#[test]
fn the_quality_cut_keeps_whole_alerts_and_their_rows() {
    let out = run("SELECT * FROM alerts WHERE candidate.nbad = 0 AND candidate.rb >= 0.55");
    assert_eq!(out.columns.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["ZTF1", "ZTF3"]);
    assert_eq!(before(&out), [0, 2]);
    assert_eq!(out.columns.schema().fields(), alerts().schema().fields());
    assert_eq!(reads("SELECT * FROM alerts WHERE candidate.rb > 0"), None);
}

#[test]
fn a_filter_in_the_scan_is_honoured_with_and_without_columns_of_its_own() {
    assert_eq!(rows("SELECT objectId FROM alerts WHERE candid > 2"), ["ZTF3", "ZTF4"]);
    assert_eq!(rows("SELECT candidate.rb FROM alerts WHERE candid > 1"), ["0.5", "0.6", "-"]);
    assert_eq!(rows("SELECT candid + 1 AS n FROM alerts WHERE candidate.rb > 0.5"), ["2", "4"]);
    assert_eq!(rows("SELECT candid AS n FROM alerts WHERE false"), Vec::<String>::new());
    assert_eq!(rows("SELECT 1 AS one FROM alerts WHERE candid < 3"), ["1", "1"]);
    let untouched = run("SELECT * FROM alerts WHERE candid > 0");
    assert!(matches!(untouched.rows, crate::Rows::Same));
}

#[test]
fn filters_and_columns_of_subqueries_are_composed() {
    let sql = "WITH good AS (SELECT candid, candidate FROM alerts WHERE candid > 1) \
               SELECT g.candidate.rb, candid FROM good g WHERE g.candidate.nbad = 0 AND random() >= 0";
    let out = run(sql);
    assert_eq!(show(&out.columns), ["0.5|2", "0.6|3"]);
    assert_eq!(before(&out), [1, 2]);
}

#[test]
fn a_column_is_named_by_the_last_part_of_its_path() {
    let sql = "SELECT candidate.rb, alerts.candid, prv_candidates[1].magpsf, candidate['jd'], CAST(candidate.nbad AS BIGINT), \
               upper(objectId) AS \"Name\" FROM alerts";
    assert_eq!(names(&planned(sql)), ["rb", "candid", "magpsf", "jd", "nbad", "Name"]);
    assert_eq!(planned(sql).schema.field(4).data_type(), &DataType::Int64);
}

#[test]
fn a_null_struct_has_null_fields_whatever_its_children_hold() {
    assert_eq!(rows("SELECT candidate.rb FROM alerts"), ["0.9", "0.5", "0.6", "-"]);
    assert_eq!(rows("SELECT candid FROM alerts WHERE candidate.rb IS NULL"), ["4"]);
}

/// Records of Avro rarely have nullable fields, but are themselves absent at times.
#[test]
fn what_is_never_null_in_a_struct_is_null_where_the_struct_is() {
    let never = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let inner = Fields::from(vec![never("rb", DataType::Int32)]);
    let nulls = NullBuffer::from(vec![true, false]);
    let child = |values: Vec<i32>| vec![Arc::new(Int32Array::from(values)) as ArrayRef];
    let candidate = StructArray::new(inner.clone(), child(vec![5, 0]), Some(nulls));
    let element = Arc::new(never("item", DataType::Struct(inner.clone())));
    let elements = Arc::new(StructArray::new(inner.clone(), child(vec![7]), None));
    let list = ListArray::new(Arc::clone(&element), OffsetBuffer::from_lengths([1, 0]), elements, None);
    let schema = Arc::new(Schema::new(vec![
        field("candidate", DataType::Struct(inner)),
        never("list", DataType::List(element)),
    ]));
    let input = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(candidate), Arc::new(list)]).unwrap();
    let rows = |sql: &str| {
        let planned = plan(sql, &[edge("a", &schema)], "p").unwrap();
        show(&planned.open(&clock()).unwrap().run(0, &input).unwrap().columns)
    };
    assert_eq!(rows("SELECT candidate.rb, list[1].rb AS first FROM a"), ["5|7", "-|-"]);
    assert_eq!(rows("SELECT e.rb, r FROM (SELECT unnest(list) AS e, candidate.rb AS r FROM a)"), ["7|5"]);
}

#[test]
fn a_list_is_indexed_from_one_and_reached_into_with_dots() {
    assert_eq!(rows("SELECT prv_candidates[1].magpsf FROM alerts"), ["17.5", "-", "-", "-"]);
    assert_eq!(rows("SELECT alerts.prv_candidates[-1].magpsf AS m FROM alerts"), ["18.5", "-", "-", "-"]);
    assert_eq!(rows("SELECT array_length(prv_candidates) AS n FROM alerts"), ["2", "0", "1", "-"]);
}

#[test]
fn a_struct_and_a_star_are_all_its_fields() {
    let expected = ["candid", "jd", "rb", "nbad"];
    assert_eq!(names(&planned("SELECT candid, candidate.* FROM alerts")), expected);
    assert_eq!(names(&planned("SELECT candid, a.candidate.* FROM alerts AS a")), expected);
    assert_eq!(names(&planned("SELECT alerts.* FROM alerts")).len(), 5);
    assert_eq!(reads("SELECT candidate.* FROM input").unwrap(), ["candidate.jd", "candidate.nbad", "candidate.rb"]);
}

#[test]
fn unnest_gives_a_row_per_element_that_knows_its_row() {
    let out = run("SELECT objectId, unnest(prv_candidates) AS p FROM alerts");
    assert_eq!(show(&out.columns), ["ZTF1|{magpsf: 17.5}", "ZTF1|{magpsf: 18.5}", "ZTF3|{magpsf: -}"]);
    assert_eq!(before(&out), [0, 0, 2]);

    let sql = "SELECT objectId, p.magpsf FROM (SELECT objectId, unnest(prv_candidates) AS p FROM alerts WHERE candid < 3) \
               WHERE p.magpsf > 18";
    let out = run(sql);
    assert_eq!(show(&out.columns), ["ZTF1|18.5"]);
    assert_eq!(before(&out), [0]);
    assert_eq!(reads(sql).unwrap(), ["candid", "objectId", "prv_candidates"]);
    assert_eq!(names(&planned("SELECT unnest(prv_candidates) FROM alerts")), ["prv_candidates"]);
}

/// What was found, and where in the query.
fn told(problem: &document::Problem) -> String {
    problem.within.as_ref().map_or_else(|| problem.found.clone(), |within| format!("{} ({within})", problem.found))
}

#[test]
fn what_needs_many_rows_is_refused_with_its_place_and_a_way_out() {
    let refused = [
        ("SELECT count(*) AS n FROM alerts", "the aggregate count (line 1, column 8)"),
        ("SELECT candid FROM alerts GROUP BY candid", "GROUP BY (line 1, column 36)"),
        ("SELECT DISTINCT candid FROM alerts", "DISTINCT (line 1, column 1)"),
        ("SELECT candid FROM alerts\nORDER BY candid", "ORDER BY (line 2, column 10)"),
        ("SELECT candid FROM alerts LIMIT 3", "LIMIT (line 1, column 33)"),
        ("SELECT a.candid FROM alerts a JOIN alerts b ON a.candid = b.candid", "a join (line 1, column 36)"),
        ("SELECT candid FROM alerts, input", "a join (line 1, column 28)"),
        (
            "SELECT candid FROM alerts UNION SELECT candid FROM alerts",
            "UNION, which looks for equal rows (line 1, column 1)",
        ),
        ("SELECT row_number() OVER () AS n FROM alerts", "the window function row_number (line 1, column 8)"),
        (
            "SELECT candid FROM alerts WHERE candid IN (SELECT candid FROM alerts)",
            "a subquery in an expression (line 1, column 33)",
        ),
        ("SELECT 1 AS one", "a SELECT without FROM"),
    ];
    for (sql, found) in refused {
        let problem = problem(sql);
        assert_eq!(told(&problem), found, "{sql}");
        assert!(problem.hint.is_some(), "{sql}");
    }
    assert_eq!(problem("DELETE FROM alerts").expected, "one SELECT");
    assert_eq!(problem("SELECT 1 AS a FROM alerts; SELECT 1 AS b FROM alerts").expected, "one SELECT");
}

#[test]
fn mistakes_are_told_with_their_place_and_the_nearest_name() {
    let wrong = problem("SELECT objectid FROM alerts");
    assert_eq!(told(&wrong), "column `objectid` (line 1, column 8)");
    assert_eq!(wrong.hint.as_deref(), Some("did you mean `objectId`?"));

    let wrong = problem("SELECT candidate.rbb FROM alerts");
    assert!(told(&wrong).contains("rbb") && told(&wrong).contains("line 1, column 18"), "{}", told(&wrong));
    assert_eq!(wrong.hint.as_deref(), Some("did you mean `rb`?"));

    let wrong = problem("SELECT candid FROM alert");
    assert!(wrong.found.contains("the tables are alerts, input"), "{}", wrong.found);
    assert!(wrong.found.contains("did you mean `alerts`?"), "{}", wrong.found);

    let wrong = problem("SELECT candid,, FROM alerts");
    assert!(told(&wrong).contains("line 1, column 15"), "{}", told(&wrong));
    let wrong = problem("SELECT uper(objectId) AS n FROM alerts");
    assert_eq!(
        (told(&wrong).as_str(), wrong.hint.as_deref()),
        ("function `uper` (line 1, column 8)", Some("did you mean `upper`?"))
    );
    for sql in
        ["SELECT candid FROM alert", "SELECT uper(objectId) AS n FROM alerts", "SELECT abs('x', 1) AS n FROM alerts"]
    {
        let found = problem(sql).found;
        assert!(!found.contains("DataFusion") && !found.contains("Error during"), "{found}");
    }
}

#[test]
fn names_are_asked_for_and_may_not_be_doubled() {
    let nameless = problem("SELECT candid + 1 FROM alerts");
    assert_eq!(nameless.hint.as_deref(), Some("candid + 1 AS name"));
    assert_eq!(
        problem("SELECT candid, candidate.rb AS candid FROM alerts").hint.as_deref(),
        Some("name one of them: AS candid2")
    );
    assert_eq!(problem("SELECT *, candidate.rb AS candid FROM alerts").found, "two columns named `candid`");
}

#[test]
fn several_inputs_are_tables_and_input_is_all_of_them() {
    let one = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
    let other = RecordBatch::try_from_iter([("name", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
    let both = [edge("one", &one.schema()), edge("other", &other.schema())];
    let sql = "SELECT id, 'a' AS name FROM one WHERE id > 1 UNION ALL SELECT length(name), name FROM other";
    let planned = plan(sql, &both, "p").unwrap();
    let mut step = planned.open(&clock()).unwrap();
    let out = step.run(0, &one).unwrap();
    assert_eq!((show(&out.columns), before(&out)), (vec!["2|a".to_owned()], vec![1]));
    let out = step.run(1, &other).unwrap();
    assert_eq!((show(&out.columns), out.columns.schema()), (vec!["1|x".to_owned()], planned.schema));

    let same = [edge("a", &one.schema()), edge("b", &one.schema())];
    let mut step = plan("SELECT id * 2 AS id FROM input", &same, "p").unwrap().open(&clock()).unwrap();
    assert_eq!(show(&step.run(1, &one).unwrap().columns), ["2", "4"]);
    let twice =
        plan("SELECT id FROM a UNION ALL SELECT -id FROM a UNION ALL SELECT id FROM b WHERE id = 1", &same, "p");
    let out = twice.unwrap().open(&clock()).unwrap().run(0, &one).unwrap();
    assert_eq!(
        (show(&out.columns), before(&out)),
        (["1", "2", "-1", "-2"].map(str::to_owned).to_vec(), vec![0, 1, 0, 1])
    );
    let unused = plan("SELECT id FROM a", &same, "p").unwrap_err();
    assert_eq!(unused[0].found, "a query that never reads `b`");
}

#[test]
fn only_the_leaves_that_are_used_are_read() {
    let sql = "SELECT objectId, candidate.rb * 2 AS r FROM alerts WHERE candidate.nbad = 0";
    assert_eq!(reads(sql).unwrap(), ["candidate.nbad", "candidate.rb", "objectId"]);
    let nested = "SELECT c.rb FROM (SELECT candidate AS c, candid FROM alerts) WHERE c.jd > 0";
    assert_eq!(reads(nested).unwrap(), ["candidate.jd", "candidate.rb"]);
    assert_eq!(reads("SELECT candidate, candidate.rb FROM alerts").unwrap(), ["candidate"]);
}

#[test]
fn a_query_is_planned_again_over_what_it_reads() {
    let candidate = structs(vec![("rb", Arc::new(Float64Array::from(vec![0.7, 0.2])) as ArrayRef)], None);
    let pruned = RecordBatch::try_from_iter([("candidate", Arc::new(candidate) as ArrayRef)]).unwrap();
    let planned =
        plan("SELECT candidate.rb FROM alerts WHERE candidate.rb > 0.5", &[edge("alerts", &pruned.schema())], "p");
    let out = planned.unwrap().open(&clock()).unwrap().run(0, &pruned).unwrap();
    assert_eq!(show(&out.columns), ["0.7"]);
}

#[test]
fn julian_dates_become_moments_and_nights() {
    let sql = "SELECT to_char(jd_to_timestamp(candidate.jd), '%Y%m%d') AS night FROM alerts";
    assert_eq!(rows(sql), ["19700101", "20200101", "20200102", "-"]);
    let out = run("SELECT jd_to_timestamp(2458849.75) AS a, mjd_to_timestamp(58849.25) AS b FROM alerts");
    let micros = |column: usize| out.columns.column(column).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!((micros(0), micros(1)), (1_577_858_400_000_000, 1_577_858_400_000_000));
    assert_eq!(
        rows("SELECT extract(year FROM jd_to_timestamp(candidate.jd)) AS y FROM alerts WHERE candid = 2"),
        ["2020"]
    );
    assert_eq!(
        rows("SELECT date_trunc('day', jd_to_timestamp(candidate.jd)) AS d FROM alerts WHERE candid = 2"),
        ["2020-01-01T00:00:00Z"]
    );
}

#[test]
fn now_is_read_for_each_batch() {
    let planned =
        planned("SELECT now() AS at, current_timestamp AS same, today() AS day FROM alerts WHERE now() < '1990-01-01'");
    let clock = clock();
    let mut step = planned.open(&clock).unwrap();
    let mut at = |clock: &Clock| {
        let out = step.run(0, &alerts()).unwrap().columns;
        let micros = |column: usize| out.column(column).as_primitive::<TimestampMicrosecondType>().value(0);
        assert_eq!(micros(0), micros(1));
        assert_eq!(micros(0), clock.now().micros());
        out.column(2).as_primitive::<Date32Type>().value(0)
    };
    assert_eq!(at(&clock), 0);
    clock.advance(Duration::from_hours(3 * 24));
    assert_eq!(at(&clock), 3);
    clock.advance(Duration::from_hours(30 * 366 * 24));
    assert_eq!(step.run(0, &alerts()).unwrap().columns.num_rows(), 0);
}

#[test]
fn json_is_reached_into_and_bad_json_is_null() {
    assert_eq!(rows("SELECT json_get(text, 'a', 'b') AS j FROM alerts"), [r#"[10,2.5,"x"]"#, "-", "-", "-"]);
    assert_eq!(rows("SELECT json_get_int(text, 'a', 'b', 0) AS j FROM alerts"), ["10", "-", "-", "-"]);
    assert_eq!(rows("SELECT json_get_float(text, 'a', 'b', 1) AS j FROM alerts"), ["2.5", "-", "-", "-"]);
    assert_eq!(rows("SELECT json_get_str(text, 'a', 'b', -1) AS j FROM alerts"), ["x", "-", "-", "-"]);
    assert_eq!(rows("SELECT json_get_bool(text, 'ok') AS j FROM alerts"), ["true", "-", "-", "-"]);
    assert_eq!(rows("SELECT json_length(text) AS j FROM alerts"), ["2", "-", "0", "-"]);
    assert_eq!(rows("SELECT json_valid(text) AS j FROM alerts"), ["true", "false", "true", "true"]);
    assert_eq!(rows("SELECT json_get_int('{\"a\": 3}', 'a') AS j FROM alerts WHERE candid = 1"), ["3"]);
    assert!(problem("SELECT json_get(candid, 'a') AS j FROM alerts").found.contains("JSON in text"));
}

#[test]
fn functions_of_text_numbers_and_patterns_are_there() {
    let sql = "SELECT upper(objectId) AS u, substr(objectId, 4) AS s, regexp_like(objectId, '^ZTF[12]$') AS r, \
               round(candidate.jd) AS j, objectId || '!' AS c, CAST(candid AS VARCHAR) AS v, \
               CASE WHEN candid = 1 THEN 'one' ELSE 'more' END AS w FROM alerts WHERE objectId LIKE '%1'";
    let out = run(sql);
    assert_eq!(show(&out.columns), ["ZTF1|1|true|2440588.0|ZTF1!|1|one"]);
    let text = |name: &str| out.columns.schema().field_with_name(name).unwrap().data_type().clone();
    assert!(["u", "s", "c", "v"].iter().all(|name| text(name) == DataType::Utf8));
}

#[test]
fn an_expression_that_fails_gives_its_reason() {
    for (sql, said) in [
        ("SELECT CAST(objectId AS BIGINT) AS n FROM alerts", "ZTF1"),
        ("SELECT 1 / (candid - 3) AS n FROM alerts", "Divide by zero"),
    ] {
        let reason = planned(sql).open(&clock()).unwrap().run(0, &alerts()).unwrap_err();
        assert_eq!(reason.code, ReasonCode::Evaluation);
        assert!(reason.message.contains(said), "{}", reason.message);
        assert!(!reason.message.contains("Arrow error"), "{}", reason.message);
    }
    let guarded = "SELECT 6 / (candid - 3) AS n FROM alerts WHERE candid <> 3";
    assert_eq!(rows(guarded), ["-3", "-6", "6"]);
    assert_eq!(rows("SELECT TRY_CAST(objectId AS BIGINT) AS n FROM alerts WHERE candid = 1"), ["-"]);
}

#[test]
fn an_empty_batch_passes() {
    let planned = planned("SELECT objectId, unnest(prv_candidates) AS p, candidate.rb FROM alerts WHERE candid > 0");
    let out = planned.open(&clock()).unwrap().run(0, &alerts().slice(0, 0)).unwrap();
    assert_eq!((out.columns.num_rows(), out.columns.schema()), (0, planned.schema));
}

#[test]
fn one_expression_gives_one_value_per_row() {
    let schema = alerts().schema();
    let night = expression("to_char(jd_to_timestamp(candidate.jd), '%Y%m%d')", &schema, "p").unwrap();
    assert_eq!(night.data_type, DataType::Utf8);
    assert_eq!(night.reads, Some([vec!["candidate".to_owned(), "jd".to_owned()]].into()));
    assert_eq!(night.evaluate(&alerts()).unwrap().as_string::<i32>().value(1), "20200101");

    let constant = expression("1 + 1", &schema, "p").unwrap().evaluate(&alerts()).unwrap();
    assert_eq!(constant.as_primitive::<Int64Type>().values(), &[2, 2, 2, 2]);
    let empty: SchemaRef = Arc::new(Schema::empty());
    assert_eq!(expression("random()", &empty, "p").unwrap().data_type, DataType::Float64);
    assert!(expression("1, 2", &schema, "p").is_err());
    assert!(expression("unnest(prv_candidates)", &schema, "p").is_err());
    assert!(expression("max(candid)", &schema, "p").is_err());
    let row = expression("candidate.rb", &schema, "p").unwrap().evaluate(&alerts()).unwrap();
    assert!(row.as_primitive::<Float64Type>().is_null(3));
    let nbad = expression("candidate.nbad", &schema, "p").unwrap().evaluate(&alerts().slice(1, 2)).unwrap();
    assert_eq!(nbad.as_primitive::<Int32Type>().values(), &[0, 0]);
}
