//! The modules of a crate import each other in one direction: circles have at most four modules.

use std::collections::{BTreeMap, BTreeSet};

use super::{names_in, repository, sources};

/// The largest circle that is allowed. What an edge needs that closes a larger one goes to a module below both.
const LARGEST: usize = 4;

/// The modules that each top-level module of a crate imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn circles_of_modules_are_small() {
    let crates = names_in("crates").into_iter();
    let folders = crates.map(|name| format!("crates/{name}/src"));
    let mut edges = 0;
    for folder in folders.chain(["xtask/src".to_owned()]) {
        let graph = imports(&folder);
        edges += graph.values().map(BTreeSet::len).sum::<usize>();
        let largest = circles(&graph).into_iter().max_by_key(BTreeSet::len);
        let largest = largest.unwrap_or_default();
        assert!(
            largest.len() <= LARGEST,
            "{folder}: these modules import each other in a circle: {largest:?}"
        );
    }
    assert!(edges > 300, "only {edges} imports: the search is broken");
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
    let text =
        "use crate::{\n    Error, a::{self, b}, c,\n};\nfn f() { crate::d::e() } // crate::g";
    assert_eq!(imported(text), ["Error", "a", "c", "d"]);
}

/// Returns which top-level module of a crate imports which, tests aside.
fn imports(folder: &str) -> Graph {
    let folder = repository().join(folder);
    let module = |path: &str| path.trim_end_matches(".rs").to_owned();
    let root = |name: &String| name == "lib" || name == "main";
    let names = names_in(folder.strip_prefix(repository()).unwrap().as_str());
    let modules: BTreeSet<String> = names.iter().map(|name| module(name)).collect();
    let mut graph = Graph::new();
    for file in sources() {
        let Ok(path) = file.strip_prefix(&folder) else {
            continue;
        };
        let of_tests = ["tests", "testing", "fake", "fake_distribution"];
        let mut parts = path.components().map(|part| module(part.as_str()));
        let from = path.components().next().unwrap();
        let from = module(from.as_str());
        if root(&from) || parts.any(|part| of_tests.contains(&part.as_str())) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        let imported = imported(product).into_iter();
        let known = imported.filter(|name| modules.contains(name) && *name != from && !root(name));
        graph.entry(from.clone()).or_default().extend(known);
    }
    graph
}

/// Returns the first name of each path that begins at the crate's root.
fn imported(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    let text: String = lines.collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for path in text.split("crate::").skip(1) {
        let Some(list) = path.strip_prefix('{') else {
            names.push(name(path));
            continue;
        };
        let mut depth = 0;
        let outer: String = list
            .chars()
            .take_while(|character| {
                depth += i32::from(*character == '{') - i32::from(*character == '}');
                depth >= 0
            })
            .scan(0, |depth, character| {
                let before = *depth;
                *depth += i32::from(character == '{') - i32::from(character == '}');
                Some(if before == 0 { character } else { ' ' })
            })
            .collect();
        names.extend(outer.split(',').map(|one| name(one.trim())));
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name(path: &str) -> String {
    path.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
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
