//! Catching the administrator's password, which `mkectl apply` generates and prints once.
//!
//! This is how 4.1.0 prints it (CONF-132); other releases are not documented; therefore frames,
//! colours and the older wording `Password: ...` are understood too:
//!
//! ```text
//! !!! Make sure to save the admin credentials shown below !!!
//!               They are only showed once
//!          You won't be able to see them again
//!
//!              Generated username:password
//!         admin:aLSgtjNiusU_GF90hgvy_C70ALvlfQZR
//! ```

use secrecy::{ExposeSecret as _, SecretString};

/// What the box is known by, in lower case. One of its lines is enough.
const ANNOUNCED: &[&str] = &[
    "save the admin credentials",
    "only showed once",
    "only shown once",
    "generated username:password",
];

/// For how many lines after the last of [`ANNOUNCED`] the password is awaited.
const AWAITED: u32 = 12;

/// A shorter word is not a generated password.
const SHORTEST: usize = 8;

/// The administrator's credentials, as mkectl generated them. There is no other copy: the cluster
/// keeps a hash.
#[derive(Debug, Clone)]
pub struct AdminPassword {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// Watches the lines of a program for the password.
#[derive(Debug, Default)]
pub(crate) struct Catcher {
    awaited: u32,
    announced: bool,
    caught: Option<SecretString>,
}

impl Catcher {
    /// Looks at one line, before it is shown or logged.
    pub(crate) fn look(&mut self, line: &[u8]) -> Option<AdminPassword> {
        // A line of a million bytes is not a box.
        if line.len() > 1024 {
            return None;
        }
        let text = plain(&String::from_utf8_lossy(line));
        let lower = text.to_lowercase();
        let announces = ANNOUNCED.iter().any(|words| lower.contains(words));
        if announces {
            self.announced = true;
            self.awaited = AWAITED;
        }
        let found = credentials(&text, self.awaited > 0);
        if !announces {
            self.awaited = self.awaited.saturating_sub(1);
        }
        let found = found?;
        // What comes after it in the box is something else.
        self.awaited = 0;
        let password = found.password.expose_secret();
        let is_known =
            (self.caught.as_ref()).is_some_and(|known| known.expose_secret() == password);
        self.caught = Some(found.password.clone());
        (!is_known).then_some(found)
    }

    /// Returns whether the box was seen and no password in it, so it is in the log.
    pub(crate) fn missed(&self) -> bool {
        self.announced && self.caught.is_none()
    }
}

/// Finds credentials in a line of plain text. Within the box any `name:password` will do, elsewhere
/// only the administrator's.
fn credentials(text: &str, in_box: bool) -> Option<AdminPassword> {
    let caught = |username: &str, password: &str| {
        let is_word = !password.is_empty() && !password.contains(char::is_whitespace);
        (is_word && password.len() >= SHORTEST).then(|| AdminPassword {
            username: username.to_owned(),
            password: SecretString::from(password),
        })
    };
    let (name, rest) = text.split_once(':')?;
    let value = rest.trim_start();
    let lower = name.to_lowercase();
    if lower == "password" || lower.ends_with(" password") {
        // What follows the word, as in `Password: x (they are only showed once)`.
        return caught("admin", value.split_whitespace().next()?);
    }
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    // The heading of the box has the form of what it announces, and so has a URL.
    if !is_name || rest != value || lower == "username" || value.starts_with("//") {
        return None;
    }
    match in_box || lower == "admin" {
        true => caught(name, value),
        false => None,
    }
}

/// Returns a line without control sequences, frames and the space around.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // ESC [ parameters final, where the final byte is the first one from `@` on.
                if characters.next_if_eq(&'[').is_some() {
                    for part in characters.by_ref() {
                        if ('@'..='~').contains(&part) {
                            break;
                        }
                    }
                }
            }
            // Box drawing and block elements.
            '\u{2500}'..='\u{259f}' => text.push(' '),
            character if character.is_control() => text.push(' '),
            character => text.push(character),
        }
    }
    text.trim_matches(|character: char| character.is_whitespace() || "|*#+".contains(character))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn caught(text: &str) -> (Vec<String>, bool) {
        let mut catcher = Catcher::default();
        let found = text
            .lines()
            .filter_map(|line| catcher.look(line.as_bytes()))
            .map(|found| format!("{} {}", found.username, found.password.expose_secret()))
            .collect();
        (found, catcher.missed())
    }

    #[test]
    fn the_password_is_found_as_releases_print_it() {
        for text in [
            // CONF-132.
            "INF Configuring default admin user in Dex\n\
             !!! Make sure to save the admin credentials shown below !!!\n              \
             They are only showed once\n         You won't be able to see them again\n\n             \
             Generated username:password                 \n        admin:aLSgtjNiusU_GF90hgvy           \n",
            // With a frame and colours.
            "╭──────────╮\n│ \u{1b}[1mThey are only showed once\u{1b}[0m │\n\
             │ Generated username:password │\n│ \u{1b}[32madmin:aLSgtjNiusU_GF90hgvy\u{1b}[0m │\n╰───╯\n",
            "Username: admin\nPassword: aLSgtjNiusU_GF90hgvy (they are only showed once)\n",
            // Without the words of the box.
            "  admin:aLSgtjNiusU_GF90hgvy\r\n",
            "INF Generated admin password: aLSgtjNiusU_GF90hgvy\n",
        ] {
            let (found, missed) = caught(text);
            assert_eq!(found, ["admin aLSgtjNiusU_GF90hgvy"], "{text}");
            assert!(!missed, "{text}");
        }
        let (found, _) = caught("They are only showed once\nroot:correct-horse:battery\n");
        assert_eq!(found, ["root correct-horse:battery"]);
    }

    #[test]
    fn ordinary_lines_hold_no_password() {
        for text in [
            "INF admin user is configured\n",
            "admin: waiting for nodes\n",
            "Generated username:password\n",
            "image:calico/node:v3.30.2\n",
            "INF password: rotated\n",
            "Password:\n",
        ] {
            assert_eq!(caught(text).0, [""; 0], "{text}");
        }
    }

    #[test]
    fn what_follows_in_the_box_is_not_a_second_password() {
        let text = "They are only showed once\nadmin:aLSgtjNiusU_GF90hgvy\nhttps://mke.example.com:443\nimage:calico/node:v3.30.2\n";
        assert_eq!(caught(text).0, ["admin aLSgtjNiusU_GF90hgvy"]);
        let text =
            "They are only showed once\nhttps://mke.example.com:443\nroot:aLSgtjNiusU_GF90hgvy\n";
        assert_eq!(caught(text).0, ["root aLSgtjNiusU_GF90hgvy"]);
        // A repetition adds nothing.
        let text = "admin:aLSgtjNiusU_GF90hgvy\nadmin:aLSgtjNiusU_GF90hgvy\n";
        assert_eq!(caught(text).0, ["admin aLSgtjNiusU_GF90hgvy"]);
    }

    #[test]
    fn a_box_without_a_password_is_reported() {
        let filler = "INF still waiting\n".repeat(20);
        let text = format!("They are only showed once\n{filler}calico:v3.30.2-long-enough\n");
        assert_eq!(caught(&text), (vec![], true));
        assert_eq!(caught(&filler), (vec![], false));
    }
}
