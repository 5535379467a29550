//! The credentials of a push. The caller finds the secret.

use secrecy::{ExposeSecret as _, SecretString};

/// The credentials for a registry that requires a login.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// None: the registry must allow anonymous access.
    Anonymous,
    /// A name and a password, or a token in the password's place. Sent to the registry and to the
    /// token server that it names, nowhere else, and only after one of them asked.
    Basic {
        /// The account's name.
        username: String,
        /// The account's password or access token.
        password: SecretString,
    },
}

impl Credentials {
    /// Adds what is secret to the secrets that no output shows.
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
