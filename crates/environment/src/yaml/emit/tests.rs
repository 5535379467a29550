//! Tests of writing: parsing the result returns the same values, in this and in other parsers.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::yaml::{Source, parse};

fn parsed(text: &str) -> Node {
    let source = Source {
        path: "environments/a.yaml".into(),
        text: text.to_owned(),
    };
    parse(Arc::new(source)).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

fn scalar(text: &str, style: Style) -> Node {
    let mut node = Node::string("");
    node.value = Value::Scalar(Scalar {
        text: text.to_owned(),
        style,
        tag: None,
    });
    node
}

/// The values of a document, without their places and styles.
#[derive(Debug, PartialEq)]
enum Content {
    /// A scalar. Only a plain scalar can have a different type than string.
    Scalar {
        text: String,
        is_string: bool,
    },
    Sequence(Vec<Content>),
    Mapping(Vec<(String, Content)>),
}

fn content(node: &Node) -> Content {
    match &node.value {
        Value::Scalar(scalar) => Content::Scalar {
            text: scalar.text.clone(),
            // A text that cannot be a plain scalar is a string.
            is_string: scalar.style != Style::Plain || !can_be_plain(&scalar.text),
        },
        Value::Sequence(items) => Content::Sequence(items.iter().map(content).collect()),
        Value::Mapping(mapping) => Content::Mapping(
            mapping
                .iter()
                .map(|(key, value)| (key.key_text().to_owned(), content(value)))
                .collect(),
        ),
    }
}

/// Converts a tree to the values of serde_yaml, without writing a document.
fn serde_value(node: &Node) -> serde_yaml::Value {
    match &node.value {
        Value::Scalar(scalar) if scalar.style == Style::Plain && can_be_plain(&scalar.text) => {
            serde_yaml::from_str(&scalar.text).unwrap()
        }
        Value::Scalar(scalar) => scalar.text.clone().into(),
        Value::Sequence(items) => items.iter().map(serde_value).collect(),
        Value::Mapping(mapping) => mapping
            .iter()
            .map(|(key, value)| (serde_value(key), serde_value(value)))
            .collect::<serde_yaml::Mapping>()
            .into(),
    }
}

fn assert_round_trips(node: &Node) {
    let text = emit(node);
    assert_eq!(content(&parsed(&text)), content(node), "{text}");
    let read: serde_yaml::Value =
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read, serde_value(node), "{text}");
    assert_eq!(emit(&parsed(&text)), text, "writing again changes nothing");
}

#[test]
fn a_document_in_block_style_is_written_unchanged() {
    let text = "\
on: off
mode: 0755
version: 1.10
big: 1e3
nothing: ~
implied:
time: 12:30
underscored: 1_000
hex: 0x1F
date: 2026-11-22
path: ~/.ssh/id_ed25519
url: oci://registry.example.com:5000/mke
quoted: \"yes\"
single: 'it''s'
escaped: \"tab\\t and \\x07\"
tagged: !!str 12
local: !vault abc
pem: |
  -----BEGIN CERTIFICATE-----
  MIIB
  -----END CERTIFICATE-----
stripped: |-
  a

   b
kept: |+
  a

indented: |2
    a
   b
empty list: []
empty map: {}
list:
  - a
  - b: 1
    c:
      - d
  - - x
    - y
  - []
  -
  - |
    text
1: number
\"quoted key\": 1
? \"KEY\"
: long
größe: ü
设置: 值
emoji: 😀
"
    .replace("KEY", &"k".repeat(1100));
    assert_eq!(emit(&parsed(&text)), text);
}

#[test]
fn a_value_that_cannot_keep_its_style_is_unchanged() {
    let cases = [
        ("a: {b: [1, 'x']}\n", "a:\n  b:\n    - 1\n    - 'x'\n"),
        ("a: b\n  c\n\n  d\n", "a: \"b c\\nd\"\n"),
        ("a: >\n  b\n  c\n", "a: |\n  b c\n"),
        ("a: >-\n  b\n\n  c\n", "a: |-\n  b\n  c\n"),
        ("a: 'b\n\n  c'\n", "a: \"b\\nc\"\n"),
        ("a: |\n  \n", "a: \"\"\n"),
        ("- a # remark\n", "- a\n"),
        ("just text\n", "just text\n"),
        ("|\n  a\n  b\n", "\"a\\nb\\n\"\n"),
        ("[]\n", "[]\n"),
        ("{}\n", "{}\n"),
        ("", "\n"),
    ];
    for (written, expected) in cases {
        assert_eq!(emit(&parsed(written)), expected, "{written}");
    }
}

#[test]
fn values_made_in_code_are_read_back() {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let node = Node::mapping([
        ("version", Node::string("v4.1.5")),
        ("enabled", Node::boolean(true)),
        ("port", Node::integer(-22)),
        ("no", Node::string("no")),
        ("numeric", Node::string("1.10")),
        ("empty", Node::string("")),
        ("registry", Node::mapping([("caData", Node::literal(pem))])),
        (
            "hosts",
            Node::sequence([Node::string("a b"), Node::mapping::<String>([])]),
        ),
        ("none", Node::sequence([])),
        ("odd", Node::literal(" \n")),
    ]);
    insta::assert_snapshot!(emit(&node), @r#"
    version: v4.1.5
    enabled: true
    port: -22
    "no": "no"
    numeric: "1.10"
    empty: ""
    registry:
      caData: |
        -----BEGIN CERTIFICATE-----
        MIIB
        -----END CERTIFICATE-----
    hosts:
      - a b
      - {}
    none: []
    odd: " \n"
    "#);
    assert_round_trips(&node);
    assert_eq!(emit_with_origins(&node), emit(&node));
}

#[test]
fn comments_with_origins_do_not_change_values() {
    let text = "a: 1\nb:\n  - 'x'\n  - {}\n  - []\nc: |\n  # no remark\n  y\nd:\ne: a#b\n";
    let node = parsed(text);
    let written = emit_with_origins(&node);
    insta::assert_snapshot!(written, @"
    a: 1 # environments/a.yaml:1
    b:
      - 'x' # environments/a.yaml:3
      - {} # environments/a.yaml:4
      - [] # environments/a.yaml:5
    c: | # environments/a.yaml:7
      # no remark
      y
    d: # environments/a.yaml:9
    e: a#b # environments/a.yaml:10
    ");
    assert_eq!(content(&parsed(&written)), content(&node));
}

/// Strings that some readers or writers of YAML handle incorrectly.
fn hard_strings() -> Vec<String> {
    let mut strings: Vec<String> = [
        "",
        " ",
        "  a",
        "a  ",
        "\t",
        "a\tb",
        "\ta",
        "a\t",
        "- ",
        "- a",
        "-",
        "--",
        "---",
        "--- a",
        "...",
        "?",
        "? a",
        ":",
        ": a",
        "a:",
        "a: b",
        "a:\tb",
        "a :b",
        "#",
        "# a",
        "a #b",
        "a#b",
        "a\t#b",
        "&a",
        "*a",
        "!a",
        "!!str a",
        "|",
        "|-",
        ">",
        "%a",
        "@a",
        "`a`",
        "'",
        "''",
        "\"",
        "\"\"",
        "'a'",
        "\"a\"",
        "it's",
        "\\",
        "\\n",
        "a\\",
        "[",
        "]",
        "[a]",
        "{",
        "}",
        "{a: b}",
        ",",
        "a, b",
        "yes",
        "No",
        "on",
        "OFF",
        "true",
        "~",
        "null",
        "=",
        "<<",
        "0",
        "-0",
        "007",
        "0o7",
        "0x7",
        "1_000",
        "1.0",
        "1e3",
        ".5",
        ".inf",
        "-.INF",
        ".NaN",
        "12:30",
        "12:30:45",
        "2026-11-22",
        "2001-12-14t21:59:43.10-05:00",
        "\n",
        "\n\n",
        "a\n",
        "a\n\n",
        "a\n\n\n",
        "\na",
        "\n\na\n",
        " a\nb",
        "a\n b",
        "\ta\nb",
        "a\n\tb\n",
        "a\n \n",
        "a\n ",
        "a\n\t",
        "a \nb",
        "a\nb",
        "a\r\nb",
        "a\rb",
        "\r",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{2029}b",
        "\u{feff}a",
        "a\u{feff}",
        "\u{0}",
        "\u{7}",
        "\u{1b}[0m",
        "\u{7f}",
        "\u{80}",
        "\u{9f}",
        "\u{a0}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10ffff}",
        "é",
        "e\u{301}",
        "ключ",
        "مفتاح",
        "鍵",
        "😀",
        "👩‍👩‍👧",
        "#\n",
        "a\n# b\n",
        "- a\n- b\n",
        "key: value\n",
        "a\n---\nb\n",
        "\n---\n",
        "%TAG\n",
        "\n a\n",
        "\n\n  a\n b\n",
        "a\n...\n",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    let line = "M".repeat(64);
    strings.push(format!(
        "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
        format!("{line}\n").repeat(64)
    ));
    strings.push("long ".repeat(1000));
    strings.push("x".repeat(5000));
    strings
}

#[test]
fn hard_strings_are_read_back_in_every_place_and_style() {
    let styles = [
        Style::Plain,
        Style::SingleQuoted,
        Style::DoubleQuoted,
        Style::Literal,
        Style::Folded,
    ];
    for text in hard_strings() {
        assert_round_trips(&Node::string(&text));
        assert_round_trips(&Node::mapping([(text.clone(), Node::string(&text))]));
        assert_round_trips(&Node::mapping([
            ("a", Node::literal(&text)),
            (
                "b",
                Node::sequence([Node::literal(&text), Node::string(&text)]),
            ),
        ]));
        for style in styles {
            let node = scalar(&text, style);
            assert_round_trips(&node);
            assert_round_trips(&Node::sequence([
                node.clone(),
                Node::sequence([node.clone(), node.clone()]),
                Node::mapping([("k", node.clone()), ("l", node)]),
            ]));
        }
    }
}

#[test]
fn strings_made_in_code_are_strings_to_every_reader() {
    for text in hard_strings() {
        let emitted = emit(&Node::mapping([("key", Node::string(&text))]));
        let read: serde_yaml::Value = serde_yaml::from_str(&emitted).unwrap();
        assert_eq!(read["key"], serde_yaml::Value::String(text), "{emitted}");
    }
}

#[test]
fn tags_are_read_back() {
    for text in [
        "- !!str 12\n",
        "- !!int \"12\"\n",
        "- !local a\n",
        "- !<tag:example.com,2000:a/b> c\n",
        "- ! a\n",
        "- !!null\n",
        "- !!binary |\n  aGVsbG8=\n",
        "!!str a: b\n",
    ] {
        assert_eq!(emit(&parsed(text)), text);
    }
    let declared = parsed("%TAG !e! tag:example.com,2000:\n---\n- !e!a b\n");
    assert_eq!(emit(&declared), "- !<tag:example.com,2000:a> b\n");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(hard_strings()),
        // The characters with a meaning in YAML.
        proptest::collection::vec(
            proptest::sample::select(
                " \t\n\r-:#?,[]{}&*!|>'\"%@`~<=.\\/+_0123456789aeEnofxyzTZü😀\u{feff}\u{85}\u{2028}"
                    .chars()
                    .collect::<Vec<_>>()
            ),
            0..12
        )
        .prop_map(|characters| characters.into_iter().collect()),
        any::<String>(),
    ]
}

fn any_scalar() -> impl Strategy<Value = Node> {
    let styles = proptest::sample::select(vec![
        Style::Plain,
        Style::SingleQuoted,
        Style::DoubleQuoted,
        Style::Literal,
        Style::Folded,
    ]);
    prop_oneof![
        (any_text(), styles).prop_map(|(text, style)| scalar(&text, style)),
        any_text().prop_map(Node::string),
        any_text().prop_map(Node::literal),
        any::<bool>().prop_map(Node::boolean),
        any::<i64>().prop_map(Node::integer),
    ]
}

fn any_tree() -> impl Strategy<Value = Node> {
    any_scalar().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Node::sequence),
            proptest::collection::vec((any_text(), inner), 0..6).prop_map(Node::mapping),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_is_read_back(node in any_tree()) {
        assert_round_trips(&node);
    }

    #[test]
    fn reading_never_panics(text in any_text()) {
        let source = Source { path: "a.yaml".into(), text: format!("a: {text}\n") };
        if let Ok(node) = parse(Arc::new(source)) {
            assert_eq!(content(&parsed(&emit(&node))), content(&node));
        }
    }
}
