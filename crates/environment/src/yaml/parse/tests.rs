//! Tests of parsing: places, resolved values, and refused documents.

use std::fmt::Write as _;

use super::*;
use crate::yaml::emit;

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source {
        path: "environments/a.yaml".into(),
        text: text.to_owned(),
    })
}

fn parsed(text: &str) -> Node {
    parse(source(text)).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

fn refused(text: &str) -> Problem {
    match parse(source(text)) {
        Ok(node) => panic!("accepted as\n{}", emit(&node)),
        Err(problem) => problem,
    }
}

/// Writes a line for each value: its place, and the text at its span.
fn places(node: &Node, out: &mut String) {
    let covered = &node.source.text[node.span.clone()];
    writeln!(out, "{}:{} {covered:?}", node.line(), node.column()).unwrap();
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| places(item, out)),
        Value::Mapping(mapping) => {
            for (key, value) in mapping.iter() {
                places(key, out);
                places(value, out);
            }
        }
    }
}

#[test]
fn each_value_has_its_place() {
    let text = "\u{feff}# Größe\nä: b c  # d\nempty:\nlist:\n  - 'ü' \n  - {x: \"y\", z: []}\n\nblock: |\n  one\n  two\n\n# end\n";
    let mut out = String::new();
    places(&parsed(text), &mut out);
    insta::assert_snapshot!(out, @r#"
    2:1 "ä: b c  # d\nempty:\nlist:\n  - 'ü' \n  - {x: \"y\", z: []}\n\nblock: |\n  one\n  two"
    2:1 "ä"
    2:4 "b c"
    3:1 "empty"
    3:6 ""
    4:1 "list"
    5:3 "- 'ü' \n  - {x: \"y\", z: []}"
    5:5 "'ü'"
    6:5 "{x: \"y\", z: []}"
    6:6 "x"
    6:9 "\"y\""
    6:14 "z"
    6:17 "[]"
    8:1 "block"
    9:3 "one\n  two"
    "#);
}

#[test]
fn styles_and_texts_are_kept() {
    let node = parsed(
        "- on\n- 0755\n- 1.10\n- ~\n-\n- 'it''s'\n- \"a\\tb\\u263a\"\n- |\n  x\n   y\n- >-\n  x\n  y\n- a\n  b\n- !!str 12\n- !local x\n- !<tag:example.com,2000:x> y\n- ! z\n",
    );
    let items: Vec<_> = node
        .as_sequence()
        .unwrap()
        .iter()
        .map(|item| {
            let scalar = item.as_scalar().unwrap();
            (scalar.text.as_str(), scalar.style, scalar.tag.as_deref())
        })
        .collect();
    assert_eq!(
        items,
        [
            ("on", Style::Plain, None),
            ("0755", Style::Plain, None),
            ("1.10", Style::Plain, None),
            ("~", Style::Plain, None),
            ("", Style::Plain, None),
            ("it's", Style::SingleQuoted, None),
            ("a\tb☺", Style::DoubleQuoted, None),
            ("x\n y\n", Style::Literal, None),
            ("x y", Style::Folded, None),
            ("a b", Style::Plain, None),
            ("12", Style::Plain, Some("tag:yaml.org,2002:str")),
            ("x", Style::Plain, Some("!local")),
            ("y", Style::Plain, Some("tag:example.com,2000:x")),
            ("z", Style::Plain, Some("!")),
        ]
    );
}

#[test]
fn windows_line_breaks_do_not_change_values() {
    let text = "a: |\n  x\n  y\nb: \"x\n  y\"\nc:\n  - p\n    q\n";
    assert_eq!(
        emit(&parsed(&text.replace('\n', "\r\n"))),
        emit(&parsed(text))
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let node = parsed("\u{feff}a: 1\n");
    assert_eq!(node.get("a").and_then(Node::text), Some("1"));
    assert_eq!(node.get("a").unwrap().column(), 4);
}

#[test]
fn an_empty_file_is_null() {
    for text in ["", "\n", "# remark\n", "---\n", "---\n...\n", "~\n"] {
        assert!(parsed(text).is_null(), "{text:?}");
    }
}

#[test]
fn anchors_aliases_and_merge_keys_are_resolved() {
    let cases = [
        ("a: &x 1\nb: *x\n", "a: 1\nb: 1\n"),
        (
            "a: &x {p: 1}\nb: [*x, *x]\n",
            "a:\n  p: 1\nb:\n  - p: 1\n  - p: 1\n",
        ),
        // An alias takes the last value of its anchor.
        ("a: &x 1\nb: &x 2\nc: *x\n", "a: 1\nb: 2\nc: 2\n"),
        ("a: &x k\n*x : 1\n", "a: k\nk: 1\n"),
        // The mapping's own keys win, before and after `<<`.
        (
            "d: &d {p: 1, q: 2}\ne:\n  o: 0\n  <<: *d\n  q: 3\n",
            "d:\n  p: 1\n  q: 2\ne:\n  o: 0\n  p: 1\n  q: 3\n",
        ),
        ("e:\n  q: 3\n  <<: {p: 1, q: 2}\n", "e:\n  q: 3\n  p: 1\n"),
        // The earlier mapping wins.
        ("<<: [{p: 1}, {p: 2, q: 2}]\nr: 3\n", "p: 1\nq: 2\nr: 3\n"),
        ("<<: []\nr: 3\n", "r: 3\n"),
        // A quoted `<<` is an ordinary key.
        ("'<<': 1\n", "'<<': 1\n"),
        ("<<: {'<<': 1}\n", "'<<': 1\n"),
        ("a: <<\n", "a: <<\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(emit(&parsed(text)), expected, "{text}");
    }
}

#[test]
fn copies_have_the_place_of_the_original() {
    let node = parsed("a: &x\n  p: 1\nb: *x\n");
    assert_eq!(node.get("b").unwrap().get("p").unwrap().line(), 2);
}

#[test]
fn invalid_documents_are_refused_with_a_place() {
    let cases = [
        "a: 1\nb: 2\na: 3\n",
        "x: {k: 1, \"k\": 2}\n",
        "1: a\n'1': b\n",
        "<<: {a: 1}\n<<: {b: 1}\n",
        "<<: 1\n",
        "<<: [1]\n",
        "? {a: b}\n: c\n",
        "? [a]\n: c\n",
        ": v\n",
        "a: 1\n---\nb: 2\n",
        "--- a\n--- b\n",
        "a: &x [*x]\n",
        "a: *nowhere\n",
        "a: !!set {b: }\n",
        "a: !x [b]\n",
        "a: b: c\n",
        "a:\n\t- b\n",
        "a: 'b\n",
        "é: [1, 2\n",
        "a: |\n\n   x\n  y\n",
        "a: @b\n",
        "a: 1\n b: 2\n",
    ];
    let mut out = String::new();
    for text in cases {
        writeln!(out, "{}", refused(text)).unwrap();
    }
    insta::assert_snapshot!(out, @r"
    environments/a.yaml:3:1: duplicate key `a`; keep one; the first is in line 1
    environments/a.yaml:1:11: duplicate key `k`; keep one; the first is in line 1
    environments/a.yaml:2:1: duplicate key `1`; keep one; the first is in line 1
    environments/a.yaml:2:1: duplicate key `<<`
    environments/a.yaml:1:5: `<<` requires a mapping or a list of mappings
    environments/a.yaml:1:5: `<<` requires a mapping or a list of mappings
    environments/a.yaml:1:3: a key must be a single value, but this is a mapping
    environments/a.yaml:1:3: a key must be a single value, but this is a list
    environments/a.yaml:1:1: there is no key before this `:`
    environments/a.yaml:2:1: a second document begins here; a file holds one document: remove this `---`
    environments/a.yaml:2:1: a second document begins here; a file holds one document: remove this `---`
    environments/a.yaml:1:8: the alias refers to the value that contains it
    environments/a.yaml:1:4: a text that begins with `*` or `&` refers to another place of the file; put quotes around the text
    environments/a.yaml:1:4: a tag on a list or a mapping is not supported
    environments/a.yaml:1:4: a tag on a list or a mapping is not supported
    environments/a.yaml:1:4: this text contains a colon and a space; put quotes around it
    environments/a.yaml:2:1: a tab is used for indentation; indent with spaces
    environments/a.yaml:1:4: this quote is not closed; write the same quote after the value
    environments/a.yaml:1:4: this `[` is not closed; write `]` after the last value
    environments/a.yaml:4:3: this line is indented by 2 spaces, the line above by 3; indent the keys and the items of one level by the same number of spaces
    environments/a.yaml:1:4: a text cannot begin with this character; put quotes around the text
    environments/a.yaml:2:2: this line is indented by 1 space, the line above by 0; indent the keys and the items of one level by the same number of spaces
    ");
}

#[test]
fn a_problem_with_a_tab_has_the_place_of_the_tab() {
    let text = "a:\n  b: one\n\tc: two\n";
    assert_eq!(
        refused(text).span,
        text.find('\t').unwrap()..text.find('c').unwrap()
    );
    assert_eq!(refused("a:\n\tb: 1\n\tc: 2\n").span.start, 3);
}

#[test]
fn aliases_that_copy_too_much_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        writeln!(text, "a{level}: &a{level} [{below}]").unwrap();
    }
    assert!(refused(&text).rule.contains("expand to more"), "nodes");

    let long = "x".repeat(1 << 20);
    let text = format!("a: &a {long}\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n");
    assert!(refused(&text).rule.contains("expand to more"), "bytes");

    // A file with a thousand aliases is accepted.
    let many = "- *a\n".repeat(1000);
    parsed(&format!("- &a {{b: c}}\n{many}"));
}

#[test]
fn the_depth_is_limited() {
    let nested = |levels: usize| {
        let mut text = String::new();
        for level in 0..levels {
            writeln!(text, "{}a:", " ".repeat(level)).unwrap();
        }
        text
    };
    parsed(&nested(128));
    assert!(refused(&nested(129)).rule.contains("128 levels"));
    assert!(refused(&"- ".repeat(100_000)).rule.contains("128 levels"));
    // In brackets, the parser may reach its own limit first.
    refused(&"[".repeat(100_000));
    refused(&format!("{}1{}", "[".repeat(129), "]".repeat(129)));

    // Aliases can nest deeper than the text of the file.
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..130 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(refused(&text).rule.contains("128 levels"));
}
