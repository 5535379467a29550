//! The machines of an environment, as far as one logs in to them before there is a cluster: by what its files say, and no secret of theirs.

use environment::yaml::{Mapping, Node};
use environment::{Environment, Reference, reference};

use crate::inventory;
use crate::notes::Notes;

/// What SSH takes where no port is given.
const SSH_PORT: u16 = 22;

/// A machine that one can log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// `controller+worker`, `worker` or `single`; empty where none is given.
    pub role: String,
    /// Where it is reached by SSH.
    pub login: Login,
    /// The machine that it is reached through, if there is one.
    pub bastion: Option<Login>,
}

/// Where and as whom one logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// A name or an address.
    pub address: String,
    /// The account; whatever SSH takes where none is given.
    pub user: Option<String>,
    /// The port.
    pub port: u16,
    /// The private key; an agent has it where none is given.
    pub key: Option<Key>,
}

/// Where a private key lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// In this file.
    File(String),
    /// In the file that this environment variable names.
    Variable(String),
}

/// A machine that nobody can log in to by what its description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its address, or its place in the list where that is not known.
    pub name: String,
    /// What is the matter, a fragment.
    pub why: &'static str,
}

/// Returns the machines of an environment, those of its inventory among them, in their order.
///
/// References are not followed, since whoever logs in shows an address to every user of the machine; only a key's path may be one.
pub fn machines(environment: &Environment) -> Vec<Result<Machine, Unknown>> {
    let empty = Mapping::new();
    let config = environment.config.as_mapping().unwrap_or(&empty);
    // What is wrong with the inventory is told by whoever renders.
    let config = inventory::with_hosts(environment, config, &mut Notes::new(environment));
    let hosts = config.get("hosts").and_then(Node::as_sequence);
    let hosts = hosts.unwrap_or_default().iter().enumerate();
    hosts.map(|(index, host)| machine(index, host)).collect()
}

fn machine(index: usize, host: &Node) -> Result<Machine, Unknown> {
    let place = format!("config.hosts[{index}]");
    let unknown = |why| Unknown {
        name: place.clone(),
        why,
    };
    let ssh = host.get("ssh").ok_or(unknown("it has no `ssh`"))?;
    let login = login(ssh).map_err(unknown)?;
    let bastion = match ssh.get("bastion").filter(|bastion| !bastion.is_null()) {
        None => None,
        Some(bastion) => Some(self::login(bastion).map_err(|why| Unknown {
            name: login.address.clone(),
            why,
        })?),
    };
    let role = host.get("role").and_then(Node::text).unwrap_or_default();
    Ok(Machine {
        role: role.to_owned(),
        login,
        bastion,
    })
}

fn login(ssh: &Node) -> Result<Login, &'static str> {
    const REFERENCE: &str =
        "an address, user or port that is a reference would be seen in the arguments of ssh";
    let text = |key: &str| match ssh.get(key).filter(|node| !node.is_null()) {
        None => Ok(None),
        Some(node) => node.text().map(Some).ok_or(match reference(node) {
            Some(_) => REFERENCE,
            None => "a value of its `ssh` is no text",
        }),
    };
    let address = text("address")?.filter(|address| !address.is_empty());
    let port = match text("port")? {
        None => SSH_PORT,
        Some(port) => port.parse().map_err(|_| "its port is no port")?,
    };
    let key = match ssh.get("keyPath").filter(|node| !node.is_null()) {
        None => None,
        Some(node) => Some(match (node.text(), reference(node)) {
            (Some(path), _) => Key::File(path.to_owned()),
            (None, Some(Reference::Variable(name))) => Key::Variable(name),
            (None, _) => return Err("its `keyPath` is no path"),
        }),
    };
    Ok(Login {
        address: address.ok_or("it has no address")?.to_owned(),
        user: text("user")?.map(str::to_owned),
        port,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::environment;

    #[test]
    fn machines_come_with_their_bastion_and_references_are_not_followed() {
        let environment = environment(
            "hosts:\n\
             - role: controller+worker\n  ssh: { address: 10.0.0.1, user: mke, port: 2222, keyPath: ~/.ssh/mke,\n\
             \x20   bastion: { address: jump.example.com, user: jump } }\n\
             - { role: worker, ssh: { address: { $env: ADDRESS }, user: mke } }\n\
             - { role: worker, ssh: { address: 10.0.0.3, keyPath: { $env: MKE_KEY } } }\n\
             - { role: worker }\n",
        );
        let found = machines(&environment);
        let first = found[0].as_ref().unwrap();
        assert_eq!(first.role, "controller+worker");
        assert_eq!(first.login.port, 2222);
        assert_eq!(first.login.key, Some(Key::File("~/.ssh/mke".to_owned())));
        let bastion = first.bastion.as_ref().unwrap();
        assert_eq!(
            (bastion.address.as_str(), bastion.port),
            ("jump.example.com", 22)
        );
        let second = found[1].as_ref().unwrap_err();
        assert_eq!(second.name, "config.hosts[1]");
        assert!(second.why.contains("reference"), "{second:?}");
        let third = found[2].as_ref().unwrap();
        assert_eq!(third.login.key, Some(Key::Variable("MKE_KEY".to_owned())));
        assert_eq!(third.login.user, None);
        assert_eq!(found[3].as_ref().unwrap_err().why, "it has no `ssh`");
    }
}
