//! The modules of a crate import each other in one direction: circles have at most four modules.
//!
//! Each file is a module. A module may use those that it declares, and they may use it: that is one
//! step of the way down, so the edge from a module to those below it does not count. A name that a
//! module re-exports counts as one of the module that has it, except at the crate's root.

use std::collections::{BTreeMap, BTreeSet};

use super::{names_in, repository, sources};

/// The largest circle that is allowed. What an edge needs that closes a larger one goes to a module
/// below both.
const LARGEST: usize = 4;

/// The modules that each module of a crate imports, by their paths from the root.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// A path in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    parts: Vec<String>,
    /// The name that a `use` gives it.
    name: Option<String>,
    /// Whether that name is re-exported.
    exported: bool,
}

#[test]
fn circles_of_modules_are_small() {
    let crates = names_in("crates").into_iter();
    let folders = crates.map(|name| format!("crates/{name}/src"));
    let mut edges = 0;
    for folder in folders.chain(["xtask/src".to_owned()]) {
        let graph = imports(&modules(&folder));
        edges += graph.values().map(BTreeSet::len).sum::<usize>();
        let largest = circles(&graph).into_iter().max_by_key(BTreeSet::len);
        let largest = largest.unwrap_or_default();
        assert!(
            largest.len() <= LARGEST,
            "{folder}: these modules import each other in a circle: {largest:?}"
        );
    }
    assert!(edges > 1000, "only {edges} imports: the search is broken");
}

#[test]
fn a_circle_is_found() {
    let graph = |edges: &[(&str, &[&str])]| -> Graph {
        let owned = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let edges = edges.iter();
        edges
            .map(|(from, to)| ((*from).to_owned(), owned(to)))
            .collect()
    };
    let found = circles(&graph(&[
        ("a", &["b", "leaf"]),
        ("b", &["c"]),
        ("c", &["a"]),
        ("above", &["a"]),
    ]));
    let circle = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from([BTreeSet::from(circle)]));
}

#[test]
fn imports_are_found_in_each_form() {
    let files = [
        (
            "a",
            "mod below;\npub use below::{Named, other as renamed};\nfn f() { below::g() }",
        ),
        ("a::below", "use super::Own;\npub struct Named;"),
        (
            "b",
            "use crate::{\n    Error, a::{self, Named}, c as see,\n};\nfn f() { see::d::e() } // crate::f",
        ),
        ("c", "use crate::a::renamed;\nuse ::f::Other;"),
        ("c::d", "use super::super::b::{One, Two};"),
        ("e", "fn f() -> crate::c::d::Deep { self::super::f::g() }"),
        ("f", "#[cfg(test)]\nmod tests {\n    use crate::a;\n}"),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let found = imports(&BTreeMap::from(files));
    let found = found.iter().map(|(from, to)| {
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        (from.as_str(), to.join(" "))
    });
    let expected = [
        ("a", ""),
        ("a::below", "a"),
        ("b", "a a::below c c::d"),
        ("c", "a::below"),
        ("c::d", "b"),
        ("e", "c::d f"),
        ("f", ""),
    ];
    let expected = expected.map(|(from, to)| (from, to.to_owned()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

/// Returns the text of each module of a crate, tests and the root aside.
fn modules(folder: &str) -> BTreeMap<String, String> {
    let of_tests = ["tests", "testing", "fake"];
    let folder = repository().join(folder);
    let mut modules = BTreeMap::new();
    for file in sources() {
        let Ok(path) = file.strip_prefix(&folder) else {
            continue;
        };
        let path = path.with_extension("");
        let parts: Vec<&str> = path.components().map(|part| part.as_str()).collect();
        let is_root = matches!(parts.as_slice(), ["lib" | "main"]);
        if !is_root && !parts.iter().any(|part| of_tests.contains(part)) {
            let text = std::fs::read_to_string(&file).unwrap();
            modules.insert(parts.join("::"), text);
        }
    }
    modules
}

/// Returns which module of a crate imports which.
fn imports(modules: &BTreeMap<String, String>) -> Graph {
    let found: BTreeMap<&String, Vec<Path>> = modules
        .iter()
        .map(|(module, text)| (module, paths(text)))
        .collect();
    let mut exports = BTreeMap::new();
    for (module, found) in &found {
        for path in found.iter().filter(|path| path.exported) {
            let target = absolute(modules, module, &BTreeMap::new(), &path.parts);
            if let (Some(name), Some(target)) = (&path.name, target) {
                exports.insert(format!("{module}::{name}"), target);
            }
        }
    }
    let mut graph = Graph::new();
    for (module, found) in found {
        let edges = graph.entry(module.clone()).or_default();
        let mut names = BTreeMap::new();
        for path in found {
            let Some(target) = absolute(modules, module, &names, &path.parts) else {
                continue;
            };
            let target = origin(modules, &exports, target);
            let to = prefixes(&target).find(|prefix| modules.contains_key(prefix));
            if let Some(to) = to
                && to != *module
                && !to.starts_with(&format!("{module}::"))
            {
                edges.insert(to);
            }
            if let Some(name) = path.name {
                names.insert(name, target);
            }
        }
    }
    graph
}

/// Returns a path from the root of the crate; nothing if it leads to a different crate, or to what
/// the module has itself.
fn absolute(
    modules: &BTreeMap<String, String>,
    module: &str,
    names: &BTreeMap<String, Vec<String>>,
    path: &[String],
) -> Option<Vec<String>> {
    let own = || module.split("::").map(str::to_owned);
    let (first, rest) = path.split_first()?;
    let mut found: Vec<String> = match first.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => own().collect(),
        first if modules.contains_key(&format!("{module}::{first}")) => {
            own().chain([first.to_owned()]).collect()
        }
        first => names.get(first)?.clone(),
    };
    if first == "super" {
        found.pop();
    }
    for part in rest {
        match part.as_str() {
            "super" => drop(found.pop()),
            part => found.push(part.to_owned()),
        }
    }
    Some(found)
}

/// Follows re-exports to the module that has what a path names.
fn origin(
    modules: &BTreeMap<String, String>,
    exports: &BTreeMap<String, Vec<String>>,
    mut path: Vec<String>,
) -> Vec<String> {
    // A re-export of a re-export is rare, and one of itself would have no end.
    for _ in 0..4 {
        let known = prefixes(&path)
            .take_while(|prefix| !modules.contains_key(prefix))
            .find_map(|prefix| Some((prefix.split("::").count(), exports.get(&prefix)?)));
        let Some((length, target)) = known else {
            break;
        };
        path = [target, &path[length..]].concat();
    }
    path
}

/// Returns the beginnings of a path, the longest first.
fn prefixes(path: &[String]) -> impl Iterator<Item = String> + '_ {
    (1..=path.len())
        .rev()
        .map(|length| path[..length].join("::"))
}

/// Returns the paths in a file, tests aside.
fn paths(text: &str) -> Vec<Path> {
    let is_tests = |part: &&str| {
        part.lines()
            .next()
            .is_some_and(|line| line.contains("mod tests"))
    };
    let product = text.split("#[cfg(test)]\n");
    let product: String = product.take_while(|part| !is_tests(part)).collect();
    let lines = product.lines().map(|line| line.split("//").next().unwrap());
    let text = lines.collect::<Vec<_>>().join("\n");
    let tokens = tokens(&text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or(";", |before| tokens[before]);
        if tokens[at] == "use" && [";", "{", "}", ")", "]", "pub"].contains(&before) {
            let is_exported = [")", "pub"].contains(&before);
            at += 1;
            tree(&tokens, &mut at, &[], is_exported, &mut found);
            continue;
        }
        let start = at;
        while is_name(tokens[at]) && tokens.get(at + 1) == Some(&"::") && at + 2 < tokens.len() {
            at += 2;
        }
        if at > start && before != "::" {
            let whole = tokens[start..=at].iter().filter(|token| is_name(token));
            found.push(Path {
                parts: whole.map(|token| (*token).to_owned()).collect(),
                name: None,
                exported: false,
            });
        }
        at += 1;
    }
    found
}

/// Reads what follows a `use`, or a part of it in braces.
fn tree(tokens: &[&str], at: &mut usize, prefix: &[String], exported: bool, found: &mut Vec<Path>) {
    let mut parts = prefix.to_vec();
    let mut name = None;
    while let Some(token) = tokens.get(*at) {
        match *token {
            "{" => {
                while !matches!(tokens.get(*at), None | Some(&("}" | ";"))) {
                    *at += 1;
                    tree(tokens, at, &parts, exported, found);
                }
                *at += 1;
                return;
            }
            "as" => {
                name = tokens.get(*at + 1).map(|name| (*name).to_owned());
                *at += 1;
            }
            "self" if !parts.is_empty() => {}
            // A different crate.
            "::" if parts.is_empty() => parts.push(String::new()),
            "::" | "*" => {}
            token if is_name(token) => parts.push(token.to_owned()),
            _ => break,
        }
        *at += 1;
        if name.is_some() {
            break;
        }
    }
    // A list may end with a comma.
    if parts.len() > prefix.len() || tokens.get(at.wrapping_sub(1)) == Some(&"self") {
        let name = name.or_else(|| parts.last().cloned());
        found.push(Path {
            parts,
            name,
            exported,
        });
    }
}

/// Splits a text into names, `::` and other characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if is_of_name(first) => rest.find(|one| !is_of_name(one)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            first => first.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(is_of_name)
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Returns the sets of modules in which each leads to each other.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let leads: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|from| (from, reached(graph, from)))
        .collect();
    let circle = |from: &&String| -> BTreeSet<String> {
        let leads_back = |to: &&&String| leads.get(**to).is_some_and(|back| back.contains(*from));
        let members = leads[from].iter().filter(leads_back);
        members.map(|name| (*name).clone()).collect()
    };
    let circles = leads.keys().map(circle);
    circles.filter(|circle| !circle.is_empty()).collect()
}

fn reached<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = graph[from].iter().collect();
    while let Some(name) = next.pop() {
        if reached.insert(name) {
            next.extend(graph.get(name).into_iter().flatten());
        }
    }
    reached
}
