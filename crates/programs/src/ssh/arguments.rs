//! What `ssh` is called with, and how that is shown to people.

use std::fmt;
use std::time::Duration;

use crate::command::Quoted;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// The same through a bastion: longer than the bastion itself may take, so its failure is
/// distinguished from the machine's.
const CONNECT_THROUGH: Duration = Duration::from_secs(8);

/// What is wanted of every connection: no question, no waiting for ever, nothing forwarded, no
/// connection that outlives this one, and messages that can be read.
const OPTIONS: [&str; 12] = [
    "BatchMode=yes",
    "ConnectionAttempts=1",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=2",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "ControlMaster=no",
    "LogLevel=INFO",
];

/// A machine to log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where and as whom.
    pub login: Login,
    /// The machine that it is reached through, if there is one.
    pub bastion: Option<Login>,
}

/// Where and as whom one logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// A name or an address.
    pub address: String,
    /// The account; what `ssh` takes where there is none.
    pub user: Option<String>,
    /// The port.
    pub port: u16,
    /// The private key. With one, no other is offered, as mkectl offers no other; an agent may hold
    /// it.
    pub key: Option<Key>,
}

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// In this file; `~` is understood.
    File(String),
    /// In the file that this environment variable names. `ssh` reads it, so it is in no argument.
    Variable(String),
}

impl Destination {
    /// Returns all arguments but the remote command.
    pub(super) fn arguments(&self, program: &str) -> Vec<String> {
        let patience = match self.bastion {
            None => CONNECT,
            Some(_) => CONNECT_THROUGH,
        };
        let mut arguments = options(patience);
        if let Some(bastion) = &self.bastion {
            arguments.push("-o".to_owned());
            arguments.push(format!("ProxyCommand={}", through(program, bastion)));
        }
        arguments.extend(self.login.arguments());
        arguments.push("--".to_owned());
        arguments.push(self.login.address.clone());
        arguments
    }

    /// Returns the variables that keys are named by.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let logins = [Some(&self.login), self.bastion.as_ref()];
        logins
            .into_iter()
            .flatten()
            .filter_map(|login| match &login.key {
                Some(Key::Variable(name)) => Some(name.as_str()),
                _ => None,
            })
    }

    /// Returns the command as one would type it to see for oneself, with `remote` to be run there.
    pub fn shown(&self, remote: &str) -> String {
        let mut words = vec!["ssh".to_owned()];
        if let Some(bastion) = &self.bastion {
            words.push("-o".to_owned());
            let mut inner = vec!["ssh".to_owned()];
            inner.extend(bastion.typed());
            inner.extend(["-W".to_owned(), "[%h]:%p".to_owned(), bastion.target()]);
            words.push(format!("ProxyCommand={}", quoted(&inner)));
        }
        words.extend(self.login.typed());
        words.push(self.login.target());
        if !remote.is_empty() {
            words.push(remote.to_owned());
        }
        quoted(&words)
    }
}

impl Login {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-p".to_owned(), self.port.to_string()];
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(key) = &self.key {
            for option in [
                "IdentitiesOnly=yes".to_owned(),
                format!("IdentityFile={key}"),
            ] {
                arguments.extend(["-o".to_owned(), option]);
            }
        }
        arguments
    }

    /// Returns the options that people type: those that differ from what is usual.
    fn typed(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.port != 22 {
            words.extend(["-p".to_owned(), self.port.to_string()]);
        }
        match &self.key {
            None => {}
            Some(Key::File(path)) => words.extend(["-i".to_owned(), path.clone()]),
            Some(key) => words.extend(["-o".to_owned(), format!("IdentityFile={key}")]),
        }
        words
    }

    fn target(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.address),
            None => self.address.clone(),
        }
    }
}

/// In the words of `ssh`, where `%` begins a token.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Quoted, since a path may have spaces.
            Self::File(path) => write!(formatter, "\"{}\"", path.replace('%', "%%")),
            Self::Variable(name) => write!(formatter, "${{{name}}}"),
        }
    }
}

fn options(patience: Duration) -> Vec<String> {
    let patience = format!("ConnectTimeout={}", patience.as_secs());
    let options = OPTIONS.map(str::to_owned).into_iter().chain([patience]);
    options
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
}

/// Returns the command that leads through a bastion. It is read by a shell, and before that by
/// `ssh`, to which `%` is special.
fn through(program: &str, bastion: &Login) -> String {
    let mut words = vec![program.to_owned()];
    words.extend(options(CONNECT));
    words.extend(bastion.arguments());
    words.extend(["-W".to_owned()]);
    let before = quoted(&words).replace('%', "%%");
    let after = quoted(&["--".to_owned(), bastion.address.clone()]).replace('%', "%%");
    format!("{before} '[%h]:%p' {after}")
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Quoted(word).to_string()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str) -> Login {
        Login {
            address: address.to_owned(),
            user: Some("mke".to_owned()),
            port: 22,
            key: None,
        }
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        let mut destination = Destination {
            login: login("10.0.0.1"),
            bastion: None,
        };
        assert_eq!(
            destination.shown("getent hosts registry"),
            "ssh mke@10.0.0.1 'getent hosts registry'"
        );
        destination.login.key = Some(Key::File("~/.ssh/mke".to_owned()));
        destination.bastion = Some(Login {
            port: 2222,
            ..login("jump")
        });
        assert_eq!(
            destination.shown(""),
            "ssh -o 'ProxyCommand=ssh -p 2222 -W '\\''[%h]:%p'\\'' mke@jump' -i '~/.ssh/mke' mke@10.0.0.1"
        );
    }

    #[test]
    fn addresses_and_users_are_never_options_and_host_keys_are_never_waved_through() {
        let mut destination = Destination {
            login: login("-oProxyCommand=evil"),
            bastion: Some(login("-W")),
        };
        destination.login.key = Some(Key::Variable("MKE_KEY".to_owned()));
        let arguments = destination.arguments("/usr/bin/ssh");
        let [.., user_option, user, _, only, _, key, dashes, address] = arguments.as_slice() else {
            panic!("{arguments:?}");
        };
        assert_eq!((user_option.as_str(), user.as_str()), ("-l", "mke"));
        assert_eq!(only, "IdentitiesOnly=yes");
        assert_eq!(key, "IdentityFile=${MKE_KEY}");
        assert_eq!(
            (dashes.as_str(), address.as_str()),
            ("--", "-oProxyCommand=evil")
        );
        assert_eq!(destination.variables().collect::<Vec<_>>(), ["MKE_KEY"]);
        let all = arguments.join(" ");
        assert!(all.contains("-W '[%h]:%p' -- -W"), "{all}");
        assert!(
            !all.contains("StrictHostKeyChecking") && !all.contains("KnownHosts"),
            "{all}"
        );
    }
}
