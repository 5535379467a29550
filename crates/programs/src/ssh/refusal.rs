//! Classifies the messages of `ssh`, whose exit code is 255 for every failure.

/// A machine that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshFailure {
    /// The kind of failure.
    pub kind: SshFailureKind,
    /// Whether the bastion failed, and not the machine behind it.
    pub at_bastion: bool,
    /// The most informative line that `ssh` printed.
    pub message: String,
}

/// The kinds of failure, as far as their remedies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshFailureKind {
    /// `ssh` could not be started or supervised.
    NotStarted,
    /// The host name does not resolve.
    NameNotResolved,
    /// The machine or the bastion did not respond in time.
    TimedOut,
    /// The port refuses connections.
    Refused,
    /// The network has no route to the address.
    NoRoute,
    /// The connection was closed before the login.
    Closed,
    /// The machine's host key is not among the known hosts.
    HostKeyUnknown,
    /// The machine's host key differs from the known one.
    HostKeyChanged,
    /// The machine refused the account or the key.
    KeyRefused,
    /// The private key cannot be read or used.
    KeyUnusable,
    /// The login succeeded, but the shell ended before the script.
    Cut,
    /// The login succeeded, but the script did not end in time.
    Hangs,
    /// The run ended before this machine was asked.
    NoTurn,
    /// No known message.
    Other,
}

/// Messages of OpenSSH, in lower case, more specific ones first.
const MESSAGES: [(&str, SshFailureKind); 24] = [
    (
        "remote host identification has changed",
        SshFailureKind::HostKeyChanged,
    ),
    (
        "host key verification failed",
        SshFailureKind::HostKeyUnknown,
    ),
    ("host key is known for", SshFailureKind::HostKeyUnknown),
    ("unprotected private key file", SshFailureKind::KeyUnusable),
    ("load key", SshFailureKind::KeyUnusable),
    ("no such identity", SshFailureKind::KeyUnusable),
    ("not accessible", SshFailureKind::KeyUnusable),
    ("does not contain a value", SshFailureKind::KeyUnusable),
    ("vdollar_percent_expand", SshFailureKind::KeyUnusable),
    ("permission denied", SshFailureKind::KeyRefused),
    (
        "too many authentication failures",
        SshFailureKind::KeyRefused,
    ),
    (
        "could not resolve hostname",
        SshFailureKind::NameNotResolved,
    ),
    ("name or service not known", SshFailureKind::NameNotResolved),
    ("connection refused", SshFailureKind::Refused),
    ("no route to host", SshFailureKind::NoRoute),
    ("network is unreachable", SshFailureKind::NoRoute),
    ("host is unreachable", SshFailureKind::NoRoute),
    ("timed out", SshFailureKind::TimedOut),
    ("not responding", SshFailureKind::TimedOut),
    ("connection reset", SshFailureKind::Closed),
    ("connection closed", SshFailureKind::Closed),
    ("closed by remote host", SshFailureKind::Closed),
    ("not allowed at this time", SshFailureKind::Closed),
    ("broken pipe", SshFailureKind::Closed),
];

impl SshFailure {
    pub(super) fn new(kind: SshFailureKind, message: impl AsRef<str>) -> Self {
        let mut message = message.as_ref().lines().map(str::trim);
        Self {
            kind,
            at_bastion: false,
            message: message
                .rfind(|line| !line.is_empty())
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Classifies the output of `ssh` if no remote shell was ready.
    pub(super) fn read(text: &str, through_bastion: bool) -> Self {
        // The connection from the bastion to the machine failed.
        let beyond_bastion = text
            .lines()
            .find(|line| line.contains("open failed") || line.contains("stdio forwarding failed"));
        // The outer ssh prints this about a closed connection through the bastion, whichever side
        // closed it.
        let is_closed = text.contains("UNKNOWN port");
        let of_outer = |line: &str| {
            through_bastion
                && ["UNKNOWN port", "kex_exchange", "banner exchange"]
                    .iter()
                    .any(|words| line.contains(words))
        };
        let lines = || text.lines().map(str::trim).filter(|line| !of_outer(line));
        let known = MESSAGES.iter().find_map(|(words, kind)| {
            let message = lines().find(|line| line.to_lowercase().contains(words))?;
            Some((*kind, message))
        });
        let (kind, message) = match (beyond_bastion, known) {
            (Some(line), _) => {
                let line = line.trim();
                let lower = line.to_lowercase();
                let known = MESSAGES.iter().find(|(words, _)| lower.contains(words));
                (
                    known.map_or(SshFailureKind::Closed, |(_, kind)| *kind),
                    line,
                )
            }
            (None, Some((SshFailureKind::HostKeyChanged, _))) => (
                SshFailureKind::HostKeyChanged,
                "its host key differs from the known one",
            ),
            (None, Some(known)) => known,
            (None, None) if through_bastion && text.to_lowercase().contains("timed out") => {
                (SshFailureKind::TimedOut, last(text))
            }
            (None, None) if is_closed => (SshFailureKind::Closed, last(text)),
            (None, None) => (SshFailureKind::Other, last(text)),
        };
        Self {
            kind,
            at_bastion: through_bastion && is_closed && beyond_bastion.is_none() && known.is_some(),
            message: message.to_owned(),
        }
    }
}

fn last(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines
        .rfind(|line| !line.is_empty())
        .unwrap_or("it printed nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_openssh_are_classified() {
        for (text, kind) in [
            (
                "No ED25519 host key is known for 10.0.0.1 and you have requested strict checking.\nHost key verification failed.\n",
                SshFailureKind::HostKeyUnknown,
            ),
            (
                "Host key verification failed.\n",
                SshFailureKind::HostKeyUnknown,
            ),
            (
                "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\nHost key verification failed.\n",
                SshFailureKind::HostKeyChanged,
            ),
            (
                "mke@10.0.0.1: Permission denied (publickey).\n",
                SshFailureKind::KeyRefused,
            ),
            (
                "no such identity: /root/.ssh/mke: No such file or directory\nmke@10.0.0.1: Permission denied (publickey).\n",
                SshFailureKind::KeyUnusable,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: Connection refused\n",
                SshFailureKind::Refused,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: Connection timed out\n",
                SshFailureKind::TimedOut,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: No route to host\n",
                SshFailureKind::NoRoute,
            ),
            (
                "ssh: Could not resolve hostname node7: Name or service not known\n",
                SshFailureKind::NameNotResolved,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.1 port 22\n",
                SshFailureKind::Closed,
            ),
            ("", SshFailureKind::Other),
        ] {
            let read = SshFailure::read(text, false);
            assert_eq!(read.kind, kind, "{text}");
            assert!(!read.at_bastion, "{text}");
        }
    }

    #[test]
    fn failures_of_a_bastion_are_distinguished_from_those_behind_it() {
        for (text, kind, at_bastion) in [
            (
                "jump@jump: Permission denied (publickey).\r\nkex_exchange_identification: Connection closed by remote host\r\n\
                 Connection closed by UNKNOWN port 65535\r\n",
                SshFailureKind::KeyRefused,
                true,
            ),
            (
                "Host key verification failed.\nConnection closed by UNKNOWN port 65535\n",
                SshFailureKind::HostKeyUnknown,
                true,
            ),
            (
                "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n\
                 Connection closed by UNKNOWN port 65535\r\n",
                SshFailureKind::Refused,
                false,
            ),
            (
                "mke@10.0.0.1: Permission denied (publickey).\r\n",
                SshFailureKind::KeyRefused,
                false,
            ),
            (
                "kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.9.0.1 port 22\r\n\
                 kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                SshFailureKind::Closed,
                true,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                SshFailureKind::Closed,
                false,
            ),
            (
                "ssh: connect to host jump port 22: Connection timed out\r\nConnection closed by UNKNOWN port 65535\r\n",
                SshFailureKind::TimedOut,
                true,
            ),
            (
                "Connection timed out during banner exchange\r\nConnection to UNKNOWN port 65535 timed out\r\n",
                SshFailureKind::TimedOut,
                false,
            ),
        ] {
            let read = SshFailure::read(text, true);
            assert_eq!(
                (read.kind, read.at_bastion),
                (kind, at_bastion),
                "{text}: {read:?}"
            );
        }
    }
}
