//! The credentials of a registry client. The caller obtains the secret.

use secrecy::{ExposeSecret as _, SecretString};

/// Credentials for a registry.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// No credentials. The registry must allow anonymous access.
    Anonymous,
    /// A user name with a password or an access token. They are sent only after a challenge, and
    /// only to the registry and the token server that it names.
    Basic {
        /// Name of the account.
        username: String,
        /// Password or access token of the account.
        password: SecretString,
    },
}

impl Credentials {
    /// Masks the password in all output of this process.
    pub fn remember(&self) {
        if let Self::Basic { username, password } = self {
            redaction::run().add_password(username, password.expose_secret());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_password() {
        let credentials = Credentials::Basic {
            username: "deployer".to_owned(),
            password: SecretString::from("open sesame"),
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("deployer"));
        assert!(!shown.contains("sesame"));
    }
}
