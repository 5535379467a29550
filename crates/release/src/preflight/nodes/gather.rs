//! What many nodes share, reported once with the names of the nodes.

use super::{Aspect, Node, NodeCheck, NodeFault, NodeVerdict, Nodes};
use crate::preflight::{Check, Fault, Group, Verdict};

/// How many different sentences about the same thing are shown.
const SENTENCES: usize = 3;

/// How many nodes are named in a sentence. All of them are in the table.
const NAMED: usize = 8;

/// Nodes with the same fault.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Their addresses, in the order of the configuration.
    pub nodes: Vec<String>,
    /// The machines whose host keys it is about, with their ports, each once.
    pub doors: Vec<(String, u16)>,
    /// How one logs in to the first of them, to be typed; empty where that is not known.
    pub ssh: String,
    /// Whether one of them is reached through another machine.
    pub has_bastion: bool,
}

/// What to report, once for each fault.
struct Told {
    aspect: Aspect,
    verdict: NodeVerdict,
    fault: Option<NodeFault>,
    text: String,
    shared: Shared,
}

/// Returns a check for each thing that is wrong, however many nodes share it.
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
    let told = gather(nodes);
    if told.is_empty() {
        let text = format!("all {} are as required", nodes.nodes.len());
        return vec![check(name, Verdict::Ok, None, text)];
    }
    let checks = told.into_iter().map(|told| {
        let verdict = match told.verdict {
            NodeVerdict::Problem => Verdict::Problem,
            NodeVerdict::Warning => Verdict::Warning,
            NodeVerdict::Ok | NodeVerdict::CannotTell | NodeVerdict::Skipped => Verdict::Skipped,
        };
        Check {
            shared: told.shared,
            ..check(told.aspect.name(), verdict, told.fault, told.text)
        }
    });
    checks.collect()
}

/// A sentence, and the nodes that it is about.
type Sentence = (String, Vec<String>);

/// Collects faults, and what could not be checked, over all nodes.
fn gather(nodes: &Nodes) -> Vec<Told> {
    let mut told: Vec<(Told, Vec<Sentence>)> = Vec::new();
    for aspect in Aspect::ALL {
        for node in &nodes.nodes {
            let Some(check) = node.check(aspect).filter(|check| is_worth_telling(check)) else {
                continue;
            };
            let same = |(known, _): &&mut (Told, _)| {
                known.aspect == aspect
                    && known.verdict == check.verdict
                    && known.fault == check.fault
            };
            match told.iter_mut().find(same) {
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
                    told.push((
                        Told {
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
    told.into_iter()
        .map(|(told, sentences)| Told {
            text: text(told.verdict, &sentences),
            ..told
        })
        .collect()
}

fn is_worth_telling(check: &NodeCheck) -> bool {
    matches!(
        check.verdict,
        NodeVerdict::Warning | NodeVerdict::Problem | NodeVerdict::CannotTell
    )
}

fn add(shared: &mut Shared, node: &Node) {
    shared.nodes.push(node.address.clone());
    shared.has_bastion |= node.has_bastion;
    if let Some(door) = &node.door
        && !shared.doors.contains(door)
    {
        shared.doors.push(door.clone());
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
            door: Some(("jump".to_owned(), 22)),
            has_bastion: true,
        }
    }

    #[test]
    fn what_fifty_nodes_share_is_reported_once() {
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
        let told = gather(&Nodes {
            nodes,
            ..Nodes::default()
        });
        let texts: Vec<&str> = told.iter().map(|told| told.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, 10.0.0.7, 10.0.0.8 and 42 more: has no address",
                "10.0.0.58: cannot tell: there is no getent",
                "10.0.0.51: is 5100 s ahead; 10.0.0.52: is 5200 s ahead; 10.0.0.53: is 5300 s ahead; and similar on 3 more",
            ]
        );
        assert_eq!(told[0].shared.nodes.len(), 50);
        assert_eq!(told[0].shared.doors, [("jump".to_owned(), 22)]);
        assert_eq!(told[0].shared.ssh, "ssh 10.0.0.1");
    }
}
