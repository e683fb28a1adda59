//! What all pages have in common, and the page of metrics.

use std::fmt::Write as _;

/// The head of every page.
pub(super) fn head(title: &str) -> String {
    format!("<!-- Generated from the code by `cargo xtask docs`; changes belong there. -->\n\n# {title}\n")
}

/// Name, type, labels and meaning.
const METRICS: [(&str, &str, &str, &str); 7] = [
    (
        "headwater_rows_total",
        "counter",
        "`stream`, `part`, `direction`",
        "Rows into (`in`) and out of (`out`) each source, step and sink.",
    ),
    (
        "headwater_bytes_total",
        "counter",
        "`stream`, `part`, `direction`",
        "Bytes that sources read (`in`) and sinks wrote (`out`).",
    ),
    (
        "headwater_quarantined_total",
        "counter",
        "`stream`, `reason`",
        "Rows put aside, by the kind of fault: `malformed`, `schemaIncompatible`, `tooLong`, `evaluation`, `unwritable`.",
    ),
    ("headwater_batch_seconds", "histogram", "`stream`", "From a batch's read to the last sink's write, in seconds."),
    ("headwater_commit_seconds", "histogram", "`stream`", "How long commits take, in seconds."),
    (
        "headwater_lag",
        "gauge",
        "`stream`, `part`",
        "What remains to be read of a source: files or messages, where the source knows.",
    ),
    ("headwater_memory_bytes", "gauge", "", "Resident memory of the process, in bytes."),
];

/// The page of metrics and probes.
pub(super) fn metrics() -> String {
    let mut text = head("Metrics and probes");
    text += "\n`headwater run --listen ADDRESS` serves:\n\n\
        - `/metrics`: the metrics below, in the OpenMetrics text format that Prometheus reads;\n\
        - `/healthz`: 200 while the process lives;\n\
        - `/readyz`: 200 once the tasks of all streams have started and all queues answer, 503 before that and while draining.\n\n\
        A queue serves `/metrics` and the probes of its own at its own address.\n\n\
        Counters count from the start of the process.\n\n\
        | metric | type | labels | meaning |\n|---|---|---|---|\n";
    for (name, kind, labels, meaning) in METRICS {
        // Writing into a string can't fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {meaning} |");
    }
    text
}
