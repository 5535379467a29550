//! Compares machine ids and host names, which must be unique: k0s derives the names of leases and
//! etcd members from them, and k0sctl refuses equal ones (k0sctl#435).

use super::{Aspect, Node, NodeCheck, NodeFault};

/// Machine id and host name of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The content of `/etc/machine-id`; `None` if it is missing or not initialized.
    pub(super) machine_id: Option<String>,
    pub(super) hostname: String,
}

/// Replaces the identity checks of nodes that share a machine id or a host name. `identities` are
/// in the order of `nodes`.
pub(super) fn compare(nodes: &mut [Node], identities: &[Option<Identity>]) {
    let addresses: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
    for (index, node) in nodes.iter_mut().enumerate() {
        let Some(own) = &identities[index] else {
            continue;
        };
        let sharing = |same: &dyn Fn(&Identity) -> bool| -> Vec<&str> {
            let others = identities.iter().zip(&addresses).enumerate();
            others
                .filter(|(other, (identity, _))| {
                    *other != index && identity.as_ref().is_some_and(same)
                })
                .map(|(_, (_, address))| address.as_str())
                .collect()
        };
        let same_id =
            sharing(&|other| own.machine_id.is_some() && other.machine_id == own.machine_id);
        let same_name = sharing(&|other| other.hostname.eq_ignore_ascii_case(&own.hostname));
        let aspect = Aspect::Identity;
        let check = if !same_id.is_empty() {
            let text = format!("it has the machine id of {}", same_id.join(", "));
            NodeCheck::wrong(aspect, NodeFault::SameMachineId, text)
        } else if !same_name.is_empty() {
            let text = format!(
                "its host name is `{}`, as that of {}",
                own.hostname,
                same_name.join(", ")
            );
            NodeCheck::wrong(aspect, NodeFault::SameHostname, text)
        } else {
            continue;
        };
        if let Some(old) = node.checks.iter_mut().find(|check| check.aspect == aspect) {
            *old = check;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::nodes::NodeVerdict;

    fn node(last: usize) -> Node {
        Node {
            address: format!("10.0.0.{last}"),
            role: "worker".to_owned(),
            checks: vec![NodeCheck::fine(Aspect::Identity, "it has a machine id")],
            ssh: String::new(),
            ssh_server: None,
            has_bastion: false,
        }
    }

    fn identity(machine_id: &str, hostname: &str) -> Option<Identity> {
        Some(Identity {
            machine_id: Some(machine_id.to_owned()),
            hostname: hostname.to_owned(),
        })
    }

    #[test]
    fn nodes_with_the_same_id_or_name_are_problems() {
        let mut nodes: Vec<Node> = (1..=6).map(node).collect();
        let without = Some(Identity {
            machine_id: None,
            hostname: "e".to_owned(),
        });
        let identities = [
            identity("1", "a"),
            identity("1", "b"),
            identity("2", "c"),
            identity("3", "C"),
            without,
            None,
        ];
        compare(&mut nodes, &identities);
        let checks: Vec<String> = nodes
            .iter()
            .map(|node| format!("{:?} {}", node.checks[0].fault, node.checks[0].text))
            .collect();
        assert_eq!(
            checks,
            [
                "Some(SameMachineId) it has the machine id of 10.0.0.2",
                "Some(SameMachineId) it has the machine id of 10.0.0.1",
                "Some(SameHostname) its host name is `c`, as that of 10.0.0.4",
                "Some(SameHostname) its host name is `C`, as that of 10.0.0.3",
                "None it has a machine id",
                "None it has a machine id",
            ]
        );
        assert_eq!(nodes[0].checks[0].verdict, NodeVerdict::Problem);
    }
}
