//! Real alerts into Parquet: all of them, and those that pass the quality cut.

use arrow::array::AsArray as _;
use arrow::datatypes::DataType;

use testkit::{alerts, skip};

use crate::support::{Place, parquet, rows, visible};

fn spec(folder: &std::path::Path) -> String {
    format!(
        r#"
sources:
  alerts: {{files: {{path: "{}/*.avro"}}}}
steps:
  good: {{from: alerts, sql: "SELECT * FROM alerts WHERE candidate.nbad = 0 AND candidate.rb >= 0.55"}}
sinks:
  raw:
    from: alerts
    files:
      url: out/raw
      partitionBy: [{{name: night, sql: "to_char(jd_to_timestamp(candidate.jd), '%Y%m%d')"}}]
  science: {{from: good, files: {{url: out/science}}}}
"#,
        folder.display()
    )
}

#[test]
fn all_38_alerts_arrive_and_8_pass_the_cut() {
    let Some(folder) = alerts() else {
        return skip("ztf::all_38_alerts_arrive_and_8_pass_the_cut", "no folder of real alerts: set HEADWATER_ALERTS");
    };
    let place = Place::new();
    let report = place.run(&spec(&folder)).unwrap();
    assert_eq!(report.counts.parts["alerts"].rows_in, 38);
    let raw = parquet(&visible(&place.path("out/raw")));
    assert_eq!(rows(&raw), 38);
    let schema = raw[0].schema();
    assert_eq!(schema.fields().len(), 9);
    let DataType::Struct(candidate) = schema.field_with_name("candidate").unwrap().data_type().clone() else {
        panic!("candidate is no record");
    };
    assert_eq!(candidate.len(), 103);
    assert_eq!(rows(&parquet(&visible(&place.path("out/science")))), 8);
    assert!(raw[0].column_by_name("objectId").unwrap().as_string::<i32>().value(0).starts_with("ZTF"));

    let again = place.run(&spec(&folder)).unwrap();
    assert_eq!(again.counts.parts["alerts"].rows_in, 0);
    assert!(again.earlier_commit_at_millis.is_some());
    assert_eq!(rows(&parquet(&visible(&place.path("out/raw")))), 38);
}
