//! Collects the checks of all nodes: a fault that many nodes have is reported once, with their
//! names.

use super::{Aspect, Node, NodeCheck, NodeFault, NodeVerdict, Nodes};
use crate::preflight::{Check, Fault, Group, Verdict};

/// Maximum number of different sentences for a fault.
const SENTENCES: usize = 3;

/// Maximum number of nodes that a sentence names. The table has all of them.
const NAMED: usize = 8;

/// Nodes with the same fault.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Addresses of the nodes, in the order of the configuration.
    pub nodes: Vec<String>,
    /// Addresses and ports of the SSH servers to which the nodes' host keys belong, without
    /// repeats.
    pub ssh_servers: Vec<(String, u16)>,
    /// The command that logs in to the first node; empty if it is not known.
    pub ssh: String,
    /// Whether a node is reached through a bastion.
    pub has_bastion: bool,
}

/// A fault or unknown state that nodes share.
struct Finding {
    aspect: Aspect,
    verdict: NodeVerdict,
    fault: Option<NodeFault>,
    text: String,
    shared: Shared,
}

/// Returns one check for each finding, for all nodes that share it.
pub(in crate::preflight) fn checks(nodes: &Nodes) -> Vec<Check> {
    let check = |name, verdict, fault: Option<NodeFault>, text| Check {
        group: Group::Nodes,
        name,
        verdict,
        fault: fault.map(Fault::Node),
        text,
        shared: Shared::default(),
    };
    let name = Aspect::Ssh.name();
    if let Some((fault, text)) = &nodes.none {
        return vec![check(name, Verdict::Problem, Some(*fault), text.clone())];
    }
    if nodes.nodes.is_empty() {
        let text = "a rehearsal has no nodes".to_owned();
        return vec![check(name, Verdict::Skipped, None, text)];
    }
    let findings = gather(nodes);
    if findings.is_empty() {
        let text = format!("all {} are as required", nodes.nodes.len());
        return vec![check(name, Verdict::Ok, None, text)];
    }
    let checks = findings.into_iter().map(|finding| {
        let verdict = match finding.verdict {
            NodeVerdict::Problem => Verdict::Problem,
            NodeVerdict::Warning => Verdict::Warning,
            NodeVerdict::Ok | NodeVerdict::CannotTell | NodeVerdict::Skipped => Verdict::Skipped,
        };
        Check {
            shared: finding.shared,
            ..check(finding.aspect.name(), verdict, finding.fault, finding.text)
        }
    });
    checks.collect()
}

/// A sentence, and the addresses of the nodes that it is about.
type Sentence = (String, Vec<String>);

/// Collects faults and unknown states of all nodes.
fn gather(nodes: &Nodes) -> Vec<Finding> {
    let mut findings: Vec<(Finding, Vec<Sentence>)> = Vec::new();
    for aspect in Aspect::ALL {
        for node in &nodes.nodes {
            let Some(check) = node.check(aspect).filter(|check| is_finding(check)) else {
                continue;
            };
            let same = |(known, _): &&mut (Finding, _)| {
                known.aspect == aspect
                    && known.verdict == check.verdict
                    && known.fault == check.fault
            };
            match findings.iter_mut().find(same) {
                Some((known, sentences)) => {
                    add(&mut known.shared, node);
                    match sentences.iter_mut().find(|(text, _)| *text == check.text) {
                        Some((_, of)) => of.push(node.address.clone()),
                        None => sentences.push((check.text.clone(), vec![node.address.clone()])),
                    }
                }
                None => {
                    let mut shared = Shared {
                        ssh: node.ssh.clone(),
                        ..Shared::default()
                    };
                    add(&mut shared, node);
                    let sentence = (check.text.clone(), vec![node.address.clone()]);
                    findings.push((
                        Finding {
                            aspect,
                            verdict: check.verdict,
                            fault: check.fault,
                            text: String::new(),
                            shared,
                        },
                        vec![sentence],
                    ));
                }
            }
        }
    }
    findings
        .into_iter()
        .map(|(finding, sentences)| Finding {
            text: text(finding.verdict, &sentences),
            ..finding
        })
        .collect()
}

fn is_finding(check: &NodeCheck) -> bool {
    matches!(
        check.verdict,
        NodeVerdict::Warning | NodeVerdict::Problem | NodeVerdict::CannotTell
    )
}

fn add(shared: &mut Shared, node: &Node) {
    shared.nodes.push(node.address.clone());
    shared.has_bastion |= node.has_bastion;
    if let Some(server) = &node.ssh_server
        && !shared.ssh_servers.contains(server)
    {
        shared.ssh_servers.push(server.clone());
    }
}

fn text(verdict: NodeVerdict, sentences: &[Sentence]) -> String {
    let cannot = match verdict {
        NodeVerdict::CannotTell => "cannot tell: ",
        _ => "",
    };
    let shown = sentences.iter().take(SENTENCES);
    let mut shown: Vec<String> = shown
        .map(|(text, of)| format!("{}: {cannot}{text}", names(of)))
        .collect();
    let more: usize = sentences
        .iter()
        .skip(SENTENCES)
        .map(|(_, of)| of.len())
        .sum();
    if more > 0 {
        shown.push(format!("and similar on {more} more"));
    }
    shown.join("; ")
}

fn names(nodes: &[String]) -> String {
    match nodes.len() {
        ..=NAMED => nodes.join(", "),
        count => format!("{} and {} more", nodes[..NAMED].join(", "), count - NAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(last: usize, check: NodeCheck) -> Node {
        Node {
            address: format!("10.0.0.{last}"),
            role: "worker".to_owned(),
            checks: vec![check],
            ssh: format!("ssh 10.0.0.{last}"),
            ssh_server: Some(("jump".to_owned(), 22)),
            has_bastion: true,
        }
    }

    #[test]
    fn a_fault_of_fifty_nodes_is_reported_once() {
        let missing =
            || NodeCheck::wrong(Aspect::Name, NodeFault::NameNotResolved, "has no address");
        let off = |seconds: usize| {
            let text = format!("is {seconds} s ahead");
            NodeCheck::wrong(Aspect::Clock, NodeFault::ClockOff, text)
        };
        let mut nodes: Vec<Node> = (1..=50).map(|last| node(last, missing())).collect();
        nodes.extend((51..=56).map(|last| node(last, off(last * 100))));
        nodes.push(node(57, NodeCheck::fine(Aspect::Name, "has one")));
        nodes.push(node(
            58,
            NodeCheck::cannot_tell(Aspect::Name, "there is no getent"),
        ));
        let findings = gather(&Nodes {
            nodes,
            ..Nodes::default()
        });
        let texts: Vec<&str> = findings.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, 10.0.0.7, 10.0.0.8 and 42 more: has no address",
                "10.0.0.58: cannot tell: there is no getent",
                "10.0.0.51: is 5100 s ahead; 10.0.0.52: is 5200 s ahead; 10.0.0.53: is 5300 s ahead; and similar on 3 more",
            ]
        );
        assert_eq!(findings[0].shared.nodes.len(), 50);
        assert_eq!(findings[0].shared.ssh_servers, [("jump".to_owned(), 22)]);
        assert_eq!(findings[0].shared.ssh, "ssh 10.0.0.1");
    }
}
