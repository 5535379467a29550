//! The results of nodes: a table of nodes and aspects, and JSON.

use release::preflight::nodes::{Aspect, Node, NodeVerdict, Nodes};
use serde_json::{Value, json};

use crate::ui::table;

/// Returns a table with a row for each node. An aspect has a column if a node has a finding about
/// it. A line below lists the aspects without findings.
pub(super) fn table_of(nodes: &Nodes) -> String {
    if nodes.nodes.is_empty() {
        return String::new();
    }
    let any = |aspect: &Aspect, is: fn(NodeVerdict) -> bool| {
        let mut checks = nodes.nodes.iter().filter_map(|node| node.check(*aspect));
        checks.any(|check| is(check.verdict))
    };
    let (others, fine): (Vec<Aspect>, Vec<Aspect>) = Aspect::ALL
        .into_iter()
        .filter(|aspect| any(aspect, |verdict| verdict != NodeVerdict::Skipped))
        .partition(|aspect| {
            any(aspect, |verdict| {
                !matches!(verdict, NodeVerdict::Ok | NodeVerdict::Skipped)
            })
        });
    let mut titles = vec!["host"];
    titles.extend(others.iter().map(|aspect| aspect.name()));
    let rows = nodes.nodes.iter().map(|node| row(node, &others)).collect();
    let lines = table(&titles, &[], rows);
    let mut text: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    if text.contains('?') {
        text.push_str("  ? the node cannot report it\n");
    }
    if !fine.is_empty() {
        let names: Vec<&str> = fine.iter().map(|aspect| aspect.name()).collect();
        text.push_str(&format!(
            "  ok wherever it was checked: {}\n",
            names.join(", ")
        ));
    }
    text.push('\n');
    text
}

fn row(node: &Node, aspects: &[Aspect]) -> Vec<String> {
    let cells = aspects.iter().map(|aspect| {
        let verdict = node.check(*aspect).map(|check| check.verdict);
        cell(verdict.unwrap_or(NodeVerdict::Skipped)).to_owned()
    });
    std::iter::once(node.address.clone()).chain(cells).collect()
}

fn cell(verdict: NodeVerdict) -> &'static str {
    match verdict {
        NodeVerdict::Ok => "ok",
        NodeVerdict::Warning => "warning",
        NodeVerdict::Problem => "PROBLEM",
        NodeVerdict::CannotTell => "?",
        NodeVerdict::Skipped => "-",
    }
}

/// Returns the number of nodes with a problem, and the further checks that mkectl has.
pub(super) fn summary(nodes: &Nodes, environment: &str) -> String {
    let mut text = String::new();
    let wrong = nodes.nodes.iter().filter(|node| node.has_problem()).count();
    if wrong > 0 {
        let all = nodes.nodes.len();
        text.push_str(&format!(
            "{wrong} of {} {} a problem\n",
            environment::count(all, "node"),
            if wrong == 1 { "has" } else { "have" }
        ));
    }
    if !nodes.offered.is_empty() {
        text.push_str(&format!(
            "mkectl has more checks (check {}):\n  $ cargo xtask cluster check {environment}\n",
            nodes.offered.join(", check ")
        ));
    }
    text
}

/// Returns the results of all nodes as JSON.
pub(super) fn value(nodes: &Nodes) -> Value {
    nodes.nodes.iter().map(of_node).collect()
}

fn of_node(node: &Node) -> Value {
    let checks = node.checks.iter().map(|check| {
        json!({
            "name": check.aspect.name(),
            "verdict": check.verdict,
            "fault": check.fault,
            "text": check.text,
        })
    });
    json!({
        "address": node.address,
        "role": node.role,
        "checks": checks.collect::<Vec<Value>>(),
    })
}
