//! The rules of this repository that no compiler knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::Digest as _;
use support::sandbox::repository;

mod circles;
mod prose;

/// Which crate may use which other. A new edge is added here and explained in ARCHITECTURE.md.
const EDGES: &[(&str, &[&str])] = &[
    ("files", &[]),
    ("redaction", &[]),
    ("environment", &["files", "redaction"]),
    ("network", &["requests"]),
    ("requests", &[]),
    ("bundle", &["files", "network", "redaction", "requests"]),
    ("registry", &["files", "network", "redaction", "requests"]),
    ("medium", &["files", "redaction"]),
    ("programs", &["files", "redaction"]),
    ("mke", &["environment"]),
    (
        "release",
        &[
            "bundle",
            "environment",
            "files",
            "medium",
            "mke",
            "network",
            "programs",
            "redaction",
            "registry",
            "requests",
        ],
    ),
    ("xtask", &["environment", "files", "redaction", "release"]),
];

#[test]
fn crates_know_only_what_they_may() {
    let found: BTreeMap<String, Vec<String>> = ["xtask".to_owned()]
        .into_iter()
        .chain(
            names_in("crates")
                .into_iter()
                .map(|name| format!("crates/{name}")),
        )
        .map(|folder| {
            let manifest = read(&format!("{folder}/Cargo.toml"));
            let name = folder.rsplit('/').next().unwrap_or(&folder).to_owned();
            (name, dependencies(&manifest))
        })
        .collect();
    let ours: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        {
            let mut sorted = ours.clone();
            sorted.sort_unstable();
            sorted
        },
        "a crate came or went without a word in EDGES"
    );
    for (name, allowed) in EDGES {
        let known: Vec<&str> = found[*name]
            .iter()
            .map(String::as_str)
            .filter(|dependency| ours.contains(dependency))
            .collect();
        assert_eq!(&known, allowed, "edges of `{name}`");
    }
}

#[test]
fn leaf_crates_leave_terminal_protocol_and_processes_to_others() {
    let forbidden = [
        (
            "environment",
            &["reqwest", "tokio", "oci-client", "duct", "xshell"][..],
        ),
        (
            "bundle",
            &["oci-client", "indicatif", "clap", "duct", "xshell"],
        ),
        (
            "registry",
            &["tar", "flate2", "indicatif", "clap", "duct", "xshell"],
        ),
        (
            "network",
            &["tokio", "oci-client", "tar", "clap", "duct", "xshell"],
        ),
        ("mke", &["reqwest", "tokio", "tempfile", "duct", "xshell"]),
        (
            "medium",
            &["reqwest", "tokio", "oci-client", "clap", "duct"],
        ),
        (
            "programs",
            &["reqwest", "oci-client", "serde_yaml", "saphyr-parser"],
        ),
        (
            "release",
            &["clap", "indicatif", "console", "duct", "xshell"],
        ),
        // `ci` runs its steps by xshell.
        (
            "xtask",
            &["oci-client", "tar", "serde_yaml", "reqwest", "duct"],
        ),
    ];
    for (name, forbidden) in forbidden {
        let folder = if name == "xtask" {
            name.to_owned()
        } else {
            format!("crates/{name}")
        };
        let dependencies = dependencies(&read(&format!("{folder}/Cargo.toml")));
        for dependency in forbidden {
            assert!(
                !dependencies.iter().any(|known| known == dependency),
                "`{name}` must not know `{dependency}`"
            );
        }
    }
}

#[test]
fn only_programs_and_ci_start_programs() {
    for file in sources() {
        let path = file.strip_prefix(repository()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let starts = ["Command::new(", "duct::cmd", "xshell::"];
        if !path.starts_with("tests")
            && !path.starts_with("crates/programs")
            && !["xtask/src/tasks/maintain/ci.rs", "xtask/src/failure.rs"].contains(&path.as_str())
        {
            for start in starts {
                assert!(!text.contains(start), "{path} has `{start}`");
            }
        }
    }
}

#[test]
fn only_xtask_words_commands_for_the_operator() {
    let exceptions = [
        // A file for the courier, who has no other text.
        "crates/release/src/courier/pack/start.rs",
        // The first line of files that earlier versions wrote.
        "crates/release/src/workspace/named.rs",
    ];
    for file in sources() {
        let path = file.strip_prefix(repository()).unwrap();
        if !path.starts_with("crates") || exceptions.contains(&path.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            assert!(
                !line.contains("cargo xtask"),
                "{path} has a command, which only xtask words: {line}"
            );
        }
    }
}

#[test]
fn files_are_opened_by_the_crate_that_refuses_pipes_and_devices() {
    for file in sources() {
        let path = file.strip_prefix(repository()).unwrap().as_str();
        let is_test = ["tests", "crates/files/", "crates/registry/src/fake"]
            .iter()
            .any(|start| path.starts_with(start))
            || ["/tests", "/testing", "/benches/"]
                .iter()
                .any(|part| path.contains(part));
        if is_test {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for opens in ["fs::read(", "read_to_string(", "File::open("] {
            assert!(
                !product.contains(opens),
                "{path} has `{opens}`: use `files::open`, `files::read` or `files::read_text`"
            );
        }
    }
}

// promise 8
#[test]
fn downloads_have_one_client_which_an_offline_run_does_not_get() {
    for file in sources() {
        let path = file.strip_prefix(repository()).unwrap().as_str();
        let makes_one = [
            "tests",
            "crates/bundle/",
            "crates/release/src/transfer/fetch.rs",
        ];
        if makes_one.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains("HttpClient::new("),
            "{path} downloads without `fetch::client`"
        );
    }
}

#[test]
fn only_the_edge_writes_to_the_terminal() {
    let edges = [
        "xtask/src/ui/edge.rs",
        // The stand-in for mkectl writes to a pipe, whose reader masks and escapes.
        "xtask/src/tasks/prepare/rehearsal_mkectl.rs",
    ];
    for file in sources() {
        let path = file.strip_prefix(repository()).unwrap();
        if path.starts_with("tests")
            || path.as_str().contains("/examples/")
            || edges.contains(&path.as_str())
        {
            continue;
        }
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let is_stream = line.contains("io::stdout()") || line.contains("io::stderr()");
            assert!(
                !is_stream || line.contains("is_terminal()"),
                "{path} has `{}`, which is for xtask/src/ui/edge.rs",
                line.trim()
            );
        }
    }
}

#[test]
fn every_file_says_why_it_exists() {
    let mut silent = Vec::new();
    for file in sources() {
        if !std::fs::read_to_string(&file).unwrap().starts_with("//!") {
            silent.push(file);
        }
    }
    assert!(
        silent.is_empty(),
        "files that do not open with `//!`: {silent:?}"
    );
}

#[test]
fn every_package_takes_the_workspaces_lints_and_versions() {
    for folder in [
        "xtask",
        "tests",
        "tests/bench",
        "tests/servers",
        "tests/team",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(
        names_in("crates")
            .into_iter()
            .map(|name| format!("crates/{name}")),
    ) {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{folder} has no `[lints] workspace = true`"
        );
        for line in
            section(&manifest, "[dependencies]").chain(section(&manifest, "[dev-dependencies]"))
        {
            assert!(
                line.contains("workspace = true"),
                "{folder}: `{line}` has a version of its own"
            );
        }
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = read("tests/it/main.rs");
    let groups = groups().into_iter().map(|(group, _)| group);
    for group in groups.chain([String::new()]) {
        let modules = modules_of(&group, &main);
        for file in names_in(&format!("tests/it/{group}")) {
            let module = file.strip_suffix(".rs").unwrap_or("main");
            assert!(
                module == "main" || modules.iter().any(|name| name == module),
                "tests/it/{group}/{file} is in no test"
            );
        }
    }
}

#[test]
fn commands_are_in_the_folders_and_the_order_of_the_help() {
    let tasks = read("xtask/src/tasks.rs");
    for (group, mut verbs) in groups() {
        if group == "prepare" {
            verbs.push("rehearsal_mkectl".to_owned());
        }
        assert_eq!(modules_of(&group, &tasks), verbs, "{group}");
    }
}

#[test]
fn every_verb_has_its_three_files() {
    for (group, verb) in verbs() {
        for folder in ["xtask/src/tasks", "tests/it"] {
            let file = format!("{folder}/{group}/{verb}.rs");
            assert!(repository().join(&file).is_file(), "`{verb}` has no {file}");
        }
        // `show` prints what `environment` has read, `ci` starts cargo, two are about the command
        // line; they have no step.
        if !["show", "ci", "completion", "man"].contains(&verb.as_str()) {
            let step = format!("/{verb}.rs");
            let mut files = sources().into_iter();
            assert!(
                files.any(|file| file.as_str().contains("crates/release/src/")
                    && file.as_str().ends_with(&step)),
                "`{verb}` has no file of its name in crates/release/src"
            );
        }
    }
}

#[test]
fn every_verb_is_in_the_readme() {
    let readme = read("README.md");
    for (_, verb) in verbs() {
        let named = readme
            .lines()
            .any(|line| line.starts_with('|') && line.contains(&format!("| `{verb}")));
        assert!(named, "`{verb}` is not in the README's table");
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut followed = 0;
    for document in documents() {
        let folder = Utf8Path::new(&document).parent().unwrap();
        for link in links(&read(&document)) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => Utf8PathBuf::from(&document),
                _ => folder.join(file),
            };
            assert!(
                repository().join(&target).exists(),
                "{document} leads to {target}, which is missing"
            );
            assert!(
                anchor.is_empty() || anchors(&read(target.as_str())).contains(&anchor.to_owned()),
                "{document} leads to `{anchor}` in {target}, which has no such heading"
            );
            followed += 1;
        }
    }
    assert!(
        followed > 10,
        "only {followed} links found: the search is broken"
    );
}

/// The compiler then refuses a variant without a kind, which would be an error without an exit
/// code.
#[test]
fn every_error_has_a_kind_and_no_wildcard_gives_it() {
    let mut kinds = 0;
    for path in sources() {
        if !path.as_str().contains("/crates/release/src/") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("-> crate::Kind", "-> Kind");
        let functions: Vec<&str> = text.split("pub fn kind(&self) -> Kind {").skip(1).collect();
        let is_of_errors = path.file_name() == Some("error.rs");
        assert!(!is_of_errors || !functions.is_empty(), "{path} has no kind");
        for function in functions {
            let (body, _) = function.split_once("\n    }\n").unwrap();
            assert!(!body.contains("_ =>"), "{path} has a kind by a wildcard");
            kinds += 1;
        }
    }
    assert!(kinds > 20, "only {kinds} found: the search is broken");
}

#[test]
fn recipes_name_files_and_tests_that_exist() {
    let text = read("CONTRIBUTING.md");
    let mut found = 0;
    for word in text.split('`').skip(1).step_by(2) {
        if let Some((module, function)) = word.rsplit_once("::") {
            let file = format!("tests/it/{}.rs", module.replace("::", "/"));
            if repository().join(&file).exists() {
                let function = format!("fn {function}");
                assert!(read(&file).contains(&function), "no test {word}");
                found += 1;
            }
        }
        let is_path = word.contains('/') && !word.contains(' ') && !word.contains("NAME");
        if is_path {
            assert!(repository().join(word).exists(), "no {word}");
            found += 1;
        }
    }
    assert!(found > 10, "only {found} names: the search is broken");
}

#[test]
fn hashing_is_fast_in_the_profile_that_the_alias_builds() {
    let block = vec![0x5a_u8; 1 << 20];
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let mut hasher = sha2::Sha256::new();
        for _ in 0..64 {
            hasher.update(&block);
        }
        std::hint::black_box(hasher.finalize());
        best = best.min(began.elapsed());
    }
    // Without optimisation 64 MiB take two seconds and more; with it, even without SHA
    // instructions, a third of one.
    assert!(
        best < Duration::from_secs(1),
        "64 MiB hashed in {best:?}: is sha2 still in [profile.dev.package]?"
    );
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the groups of the help with their commands, in its order.
fn groups() -> Vec<(String, Vec<String>)> {
    let cli = read("xtask/src/cli.rs");
    let (_, help) = cli.split_once("const HELP: &str").unwrap();
    let (help, _) = help.split_once("Options:").unwrap();
    let paragraphs = help.split("\n\n").filter(|text| text.contains("\n  "));
    let groups = paragraphs.map(|text| {
        let mut words = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let group = words.next().unwrap().to_lowercase();
        (group, words.map(str::to_owned).collect())
    });
    let groups: Vec<_> = groups.collect();
    assert_eq!(groups.len(), 4, "{groups:?}");
    groups
}

/// Returns each command with its group.
fn verbs() -> Vec<(String, String)> {
    let groups = groups().into_iter();
    groups
        .flat_map(|(group, verbs)| verbs.into_iter().map(move |verb| (group.clone(), verb)))
        .collect()
}

/// Returns the modules of a group, in their order; without a group, those outside of all groups.
fn modules_of(group: &str, text: &str) -> Vec<String> {
    let (_, rest) = text
        .split_once(&format!("\nmod {group} {{\n"))
        .unwrap_or(("", text));
    let body = match group {
        "" => rest,
        _ => rest.split_once("\n}\n").unwrap().0,
    };
    let indent = if group.is_empty() { "" } else { "    " };
    let lines = body.lines().filter_map(|line| line.strip_prefix(indent));
    let modules =
        lines.filter_map(|line| line.trim_start_matches("pub(super) ").strip_prefix("mod "));
    modules
        .filter_map(|line| line.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// Returns the paths of all documents.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "environments"] {
        for name in names_in(folder) {
            if name.ends_with(".md") {
                found.push(Utf8Path::new(folder).join(name).into_string());
            }
        }
    }
    found
}

/// Returns the names in a folder, sorted.
fn names_in(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = repository()
        .join(folder)
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| name != "snapshots")
        .collect();
    names.sort();
    names
}

/// Returns where the links of a Markdown text lead.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.to_owned())
        .collect()
}

/// Returns the names by which the headings of a Markdown text are linked to.
fn anchors(text: &str) -> Vec<String> {
    prose(text)
        .filter_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix(' ')
                .filter(|_| line.starts_with('#'))
        })
        .map(|heading| {
            heading
                .to_lowercase()
                .replace(' ', "-")
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
                .collect()
        })
        .collect()
}

/// Returns the lines of a Markdown text that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Returns the names of a manifest's own dependencies, sorted, without those of its tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names: Vec<String> = section(manifest, "[dependencies]")
        .filter_map(|line| line.split([' ', '=', '.']).next())
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn section<'a>(manifest: &'a str, title: &'a str) -> impl Iterator<Item = &'a str> {
    manifest
        .lines()
        .skip_while(move |line| *line != title)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

/// Returns every Rust file of the repository.
fn sources() -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "xtask", "tests"] {
        collect(&repository().join(folder), &mut found);
    }
    assert!(
        found.len() > 50,
        "only {} files found: the search is broken",
        found.len()
    );
    found
}

fn collect(folder: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension() == Some("rs") {
            found.push(path);
        }
    }
}
