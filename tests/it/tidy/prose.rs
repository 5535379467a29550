//! The part of `docs/style.md` that a test can check: the length of sentences, the patterns to
//! avoid, and that quoted messages are those of the program.

use std::collections::BTreeMap;

use regex_lite::Regex;
use support::Sandbox;

use super::{documents, read, repository, sources};

/// The most words that a sentence may have.
const LONGEST: usize = 30;

/// The most words that the sentences of a document may have on average.
const MEAN: usize = 16;

/// Wording that `docs/style.md` replaces.
const AVOID: &str = r"(?i)\b(is|are|was) no [a-z]+\b|\b(goes|gone|go|going|went) on\b|\b(nobody|somebody|whoever|everybody)\b|\bat once\b|\b(cannot|can) be had\b|\bbut for\b|\ball the same\b|\bwritten over\b|\b(tells?|told) of\b|\bis told\b|\bmend(s|ed)?\b|\bcure[sd]?\b|\b(is|are) not there\b|\bwith success\b|\b(says|tells) whether\b|\b(airlock|mkectl|lock|deploy|push|plan|registry|release|cluster|node)s? wants?\b|, so that\b|\bbring here\b|\bunless not\b";

#[test]
fn sentences_are_short() {
    let mut wrong = Vec::new();
    // The decisions are too short for an average of their own.
    let mut lengths: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for document in documents() {
        let folder = "docs/decisions";
        let group = if document.starts_with(folder) {
            folder
        } else {
            &document
        };
        for block in blocks(&read(&document)) {
            for sentence in sentences(&block.text) {
                let words = sentence.split_whitespace();
                let length = words
                    .filter(|word| word.chars().any(char::is_alphanumeric))
                    .count();
                if length > LONGEST {
                    wrong.push(format!("{document}: {length} words: {sentence}"));
                }
                if !block.is_cell && length > 0 {
                    lengths.entry(group.to_owned()).or_default().push(length);
                }
            }
        }
    }
    for (document, lengths) in lengths {
        let words: usize = lengths.iter().sum();
        if words > MEAN * lengths.len() {
            wrong.push(format!(
                "{document}: {words} words in {} sentences",
                lengths.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn documents_and_module_docs_follow_the_style_guide() {
    let mut found = Vec::new();
    for document in documents() {
        // The guide itself quotes what it replaces.
        if document != "docs/style.md" {
            avoided(&document, &read(&document), &mut found);
        }
    }
    for file in sources() {
        let path = file.strip_prefix(repository()).unwrap();
        if !path.starts_with("tests") {
            let text = std::fs::read_to_string(&file).unwrap();
            let purpose = text.lines().take_while(|line| line.starts_with("//!"));
            avoided(
                path.as_str(),
                &purpose.collect::<Vec<_>>().join("\n"),
                &mut found,
            );
        }
    }
    assert!(found.is_empty(), "see docs/style.md:\n{}", found.join("\n"));
}

#[test]
fn every_decision_is_in_the_list() {
    let list = read("docs/decisions/README.md");
    for document in documents() {
        if let Some(name) = document
            .strip_prefix("docs/decisions/")
            .filter(|name| *name != "README.md")
        {
            assert!(
                list.contains(&format!("({name})")),
                "{document} is not in the list"
            );
        }
    }
}

#[test]
fn messages_in_the_troubleshooting_page_are_those_of_the_program() {
    let mut program = String::new();
    for file in sources() {
        if !file.starts_with(repository().join("tests")) {
            program.push_str(&std::fs::read_to_string(file).unwrap());
        }
    }
    // Long messages are written over several lines of source.
    let program = Regex::new(r"\\\n\s*").unwrap().replace_all(&program, "");
    let page = read("docs/troubleshooting.md");
    let messages: Vec<&str> = page
        .lines()
        .filter_map(|line| {
            let line = line.trim_start();
            ["error: ", "because: ", "warning: "]
                .iter()
                .find_map(|start| line.strip_prefix(start))
        })
        .collect();
    assert!(messages.len() >= 20, "only {} messages", messages.len());
    for message in messages {
        for part in message.split("...") {
            // A part of a few letters is found anywhere.
            let part = part.trim_matches([':', '`', ',', ' ']);
            assert!(
                part.len() < 4 || program.contains(part),
                "`{part}` of `{message}` is not in the source"
            );
        }
    }
}

#[test]
fn every_exit_code_is_explained() {
    let help = Sandbox::new(crate::AIRLOCK).run("--help").stdout;
    let (_, list) = help.split_once("Exit codes:").unwrap();
    let page = read("docs/troubleshooting.md");
    let mut codes = 0;
    for code in Regex::new(r" (\d+) ").unwrap().captures_iter(list) {
        assert!(
            page.contains(&format!("\n| {} | ", &code[1])),
            "{}",
            &code[1]
        );
        codes += 1;
    }
    assert_eq!(codes, 12, "{list}");
}

#[test]
fn commands_in_documents_are_understood() {
    let block = Regex::new(r"(?m)^\s*\$ .*?(?:xtask|airlock) (.*)$").unwrap();
    let span = Regex::new(r"`cargo xtask ([^`]*)`").unwrap();
    let sandbox = Sandbox::new(crate::AIRLOCK);
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        let lines = text.replace('\n', " ");
        for found in block.captures_iter(&text).chain(span.captures_iter(&lines)) {
            // Neither a comment, a second command, nor what is passed on to mkectl.
            let mut command: Vec<&str> = found[1]
                .split_whitespace()
                .take_while(|word| !matches!(*word, "#" | "&&" | "|" | "--" | "\\"))
                .collect();
            if command.contains(&"COMMAND") {
                continue;
            }
            // With `--help` the command line is parsed up to its end and nothing is run.
            command.push("--help");
            let run = sandbox.run(&command).whole();
            assert!(run.starts_with("exit code: 0\n"), "{document}: {run}");
            seen += 1;
        }
    }
    assert!(
        seen > 50,
        "only {seen} commands found: the search is broken"
    );
}

#[test]
fn files_that_documents_name_exist() {
    let span = Regex::new(r"`((?:crates|docs|tests|xtask)/[a-z0-9_./-]+)`").unwrap();
    let mut seen = 0;
    for document in documents() {
        for found in span.captures_iter(&read(&document)) {
            let path = &found[1];
            assert!(repository().join(path).exists(), "{document}: {path}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} files found: the search is broken");
}

/// A paragraph, a list item or the cell of a table.
struct Block {
    text: String,
    is_cell: bool,
}

/// Returns the prose of a Markdown text, with each code span and link reduced to its words.
fn blocks(text: &str) -> Vec<Block> {
    let item = Regex::new(r"^([-*]|\d+\.) ").unwrap();
    let code = Regex::new(r"`[^`]*`").unwrap();
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let plain = |text: &str| {
        let text = code.replace_all(text, "code");
        link.replace_all(&text, "$1").into_owned()
    };
    let mut blocks = Vec::new();
    let mut paragraph = String::new();
    let mut is_code = false;
    for line in text.lines().chain([""]) {
        let line = line.trim();
        let is_fence = line.starts_with("```");
        let is_row = line.starts_with('|');
        let starts = line.is_empty() || line.starts_with('#') || item.is_match(line);
        if (is_fence || is_row || starts) && !paragraph.is_empty() {
            blocks.push(Block {
                text: plain(&std::mem::take(&mut paragraph)),
                is_cell: false,
            });
        }
        is_code ^= is_fence;
        if is_row && !is_code {
            blocks.extend(line.split('|').map(|cell| Block {
                text: plain(cell),
                is_cell: true,
            }));
        } else if !is_code && !is_fence && !line.starts_with('#') {
            paragraph.push_str(&item.replace(line, ""));
            paragraph.push(' ');
            if line.is_empty() {
                paragraph.clear();
            }
        }
    }
    blocks
}

/// Returns the sentences of a paragraph.
fn sentences(text: &str) -> Vec<String> {
    let end = Regex::new(r#"([.!?])[)"*_]*\s+"#).unwrap();
    let marked = end.replace_all(text, "$1\n");
    marked.lines().map(|line| line.trim().to_owned()).collect()
}

/// Collects the lines of a text that have wording to avoid.
fn avoided(name: &str, text: &str, found: &mut Vec<String>) {
    let avoid = Regex::new(AVOID).unwrap();
    for (number, line) in (1..).zip(text.lines()) {
        for wording in avoid.find_iter(line) {
            let wording = wording.as_str();
            if !wording.to_lowercase().ends_with(" no longer") {
                found.push(format!("{name}:{number}: `{wording}` in: {line}"));
            }
        }
    }
}

#[test]
fn prose_is_taken_apart_as_people_read_it() {
    let text = "# A heading\n\nOne `two words` [three four](there.md).\nNext one? Yes\n\n- an item\n  of two lines\n\n\
                | a cell | b |\n|---|---|\n\n```text\nno prose. at all\n```\n";
    let blocks = blocks(text);
    let prose: Vec<Vec<String>> = blocks
        .iter()
        .filter(|block| !block.is_cell)
        .map(|block| sentences(&block.text))
        .collect();
    assert_eq!(
        prose,
        [
            vec!["One code three four.", "Next one?", "Yes"],
            vec!["an item of two lines"],
        ]
    );
    assert!(
        blocks
            .iter()
            .any(|block| block.is_cell && block.text.trim() == "a cell")
    );
    let mut found = Vec::new();
    avoided(
        "a.md",
        "Nobody knows.\nIt is no longer so.\nX is no plan.",
        &mut found,
    );
    assert_eq!(found.len(), 2, "{found:?}");
}
