//! Whatever is read, nothing panics, and no secret that is written out is shown.

use proptest::prelude::*;

use crate::cases::problems;

const GOOD: &str = include_str!("../cases/problems/five/spec.yaml");
const UNIONS: &str = include_str!("../cases/problems/unions/spec.yaml");
const VARIABLES: &str = include_str!("../cases/problems/variables/spec.yaml");

fn exercise(text: &str) -> String {
    let problems = problems(text);
    for problem in &problems {
        serde_json::to_string(problem).expect("a problem is plain text");
    }
    document::render(&problems, text.len().is_multiple_of(2))
}

/// Pieces that mean something in YAML or to us.
fn piece() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "&a ",
        "*a",
        "!t ",
        "|\n",
        ">\n",
        "'",
        "\"",
        "\n",
        "\r",
        "\t",
        "---\n",
        "...\n",
        "${",
        "}",
        "$$",
        "#",
        "? ",
        "<<",
        "~",
        "é",
        "\u{feff}",
        "\u{0}",
        "1e5",
        "%YAML 1.2\n",
        ",",
        "null",
    ];
    prop_oneof![prop::sample::select(KNOWN).prop_map(str::to_owned), "\\PC{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}", bytes: Vec<u8>) {
        exercise(&text);
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in prop::collection::vec(piece(), 0..60)) {
        exercise(&pieces.concat());
    }

    #[test]
    fn a_changed_document_is_read_or_refused(
        text in prop::sample::select(&[GOOD, UNIONS, VARIABLES][..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, piece()), 1..6),
    ) {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, dropped, put) in changes {
            let start = at.index(letters.len() + 1);
            let end = (start + dropped).min(letters.len());
            letters.splice(start..end, put.chars());
        }
        exercise(&letters.into_iter().collect::<String>());
    }

    #[test]
    fn a_secret_written_out_is_never_shown(
        word in "[a-z]{12}",
        shape in prop::sample::select(&["%", "'%'", "{value: %}", "{secret: %}", "[%]", "{%}", "{% : x}", "{secret: {name: [%]}}", "\"%\\n\"",
            "|\n          %\n", "{secret: {name: a, key: b}, value: %}"][..]),
    ) {
        let text = "apiVersion: headwater.dev/v1alpha1\nkind: Stream\nmetadata: {name: a}\nspec:\n  nothing: x\n  sources:\n    a:\n      \
                    kafka:\n        brokers: b\n        topics: t\n        password: ";
        let shown = exercise(&format!("{text}{}\n", shape.replace('%', &word)));
        prop_assert!(shown.contains("password"), "{}", shown);
        prop_assert!(!shown.contains(&word), "{}", shown);
    }
}
