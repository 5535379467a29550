//! The keys that may sign media, from an allowed signers file as for `ssh-keygen -Y verify`.

use ssh_key::PublicKey;

use crate::layout::NAMESPACE;
use crate::signature::{SignatureError, Signer, SignersFault};

/// The keys that may sign media.
#[derive(Debug, Clone, Default)]
pub struct Signers {
    keys: Vec<(String, PublicKey)>,
}

impl Signers {
    /// Parses an allowed signers file. Keys for other namespaces are ignored.
    ///
    /// # Errors
    /// [`SignatureError::Signers`] if a line is malformed or has an unsupported option. Ignoring
    /// the option could permit more than the file does.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason| SignatureError::Signers {
                line: index + 1,
                reason,
            };
            let (principal, rest) = word(line).ok_or_else(|| wrong(SignersFault::NoKey))?;
            let (second, after) = word(rest).ok_or_else(|| wrong(SignersFault::NoKey))?;
            // Without options, the second word is the algorithm of the key.
            let is_key = |word: &str| word.contains('-') && !word.contains(['=', '"', ',']);
            let (options, key) = match is_key(second) && second != "cert-authority" {
                true => ("", rest),
                false => (second, after),
            };
            let key = PublicKey::from_openssh(key.trim())
                .map_err(|error| wrong(SignersFault::Key(error)))?;
            if permits_namespace(options)
                .map_err(|option| wrong(SignersFault::Option(redaction::line(option, 40))))?
            {
                keys.push((redaction::line(principal, 80), key));
            }
        }
        Ok(Self { keys })
    }

    /// Returns whether no key is permitted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns whether a key may sign media.
    pub fn permits(&self, signer: &Signer) -> bool {
        self.principal(signer).is_some()
    }

    /// Returns the principal of a key, such as a mail address.
    pub fn principal(&self, signer: &Signer) -> Option<&str> {
        let mut keys = self.keys.iter();
        let found = keys.find(|(_, key)| key.key_data() == signer.key.key_data());
        found.map(|(principal, _)| principal.as_str())
    }
}

/// Splits the first word off a line. Double quotes protect spaces.
fn word(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let mut quoted = false;
    let end = line.find(|character: char| {
        quoted ^= character == '"';
        character.is_whitespace() && !quoted
    });
    match end {
        Some(end) => Some((&line[..end], &line[end..])),
        None => (!line.is_empty()).then_some((line, "")),
    }
}

/// Returns whether options permit the namespace of media. The error is an unsupported option.
fn permits_namespace(options: &str) -> Result<bool, &str> {
    let mut permitted = true;
    let mut rest = options;
    while !rest.is_empty() {
        let value = rest.strip_prefix("namespaces=\"").ok_or(rest)?;
        let (namespaces, after) = value.split_once('"').ok_or(rest)?;
        let fits = |pattern: &str| fits(pattern.as_bytes(), NAMESPACE.as_bytes());
        let mut denied = namespaces
            .split(',')
            .filter_map(|one| one.strip_prefix('!'));
        permitted = namespaces.split(',').any(fits) && !denied.any(fits);
        rest = after.trim_start_matches(',');
    }
    Ok(permitted)
}

/// Returns whether a name matches a pattern of OpenSSH: `*` for any characters, `?` for one.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| fits(rest, &name[at..])),
        ([b'?', rest @ ..], [_, after @ ..]) => fits(rest, after),
        ([first, rest @ ..], [found, after @ ..]) => first == found && fits(rest, after),
        _ => false,
    }
}
