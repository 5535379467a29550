//! Scans output for the administrator's password, which `mkectl apply` generates and prints once.
//!
//! The text below is from 4.1.0 (CONF-132). Other releases are not documented, so frames, colours
//! and the older wording `Password: ...` are recognised, too.
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

/// Texts of the box, in lower case. One of them is enough to recognise it.
const ANNOUNCEMENTS: &[&str] = &[
    "save the admin credentials",
    "only showed once",
    "only shown once",
    "generated username:password",
];

/// Number of lines after an announcement in which the password is expected.
const LINES_AWAITED: u32 = 12;

/// A shorter word is not a generated password.
const MIN_PASSWORD_BYTES: usize = 8;

/// The administrator's credentials that mkectl generated. The cluster has only a hash of the
/// password.
#[derive(Debug, Clone)]
pub struct AdminPassword {
    /// Name of the user, usually `admin`.
    pub username: String,
    /// The password in plain text.
    pub password: SecretString,
}

/// Scans the lines of a program for the administrator's password.
#[derive(Debug, Default)]
pub(crate) struct PasswordScanner {
    lines_awaited: u32,
    announced: bool,
    found: Option<SecretString>,
}

impl PasswordScanner {
    /// Returns the password if this line has one that was not found before.
    pub(crate) fn scan(&mut self, line: &[u8]) -> Option<AdminPassword> {
        // So long a line is not part of the box.
        if line.len() > 1024 {
            return None;
        }
        let text = plain(&String::from_utf8_lossy(line));
        let lower = text.to_lowercase();
        let announces = ANNOUNCEMENTS.iter().any(|words| lower.contains(words));
        if announces {
            self.announced = true;
            self.lines_awaited = LINES_AWAITED;
        }
        let found = credentials(&text, self.lines_awaited > 0);
        if !announces {
            self.lines_awaited = self.lines_awaited.saturating_sub(1);
        }
        let found = found?;
        // Later lines of the box are not credentials.
        self.lines_awaited = 0;
        let password = found.password.expose_secret();
        let is_repeated =
            (self.found.as_ref()).is_some_and(|known| known.expose_secret() == password);
        self.found = Some(found.password.clone());
        (!is_repeated).then_some(found)
    }

    /// Returns whether a password was announced but not found.
    pub(crate) fn missed(&self) -> bool {
        self.announced && self.found.is_none()
    }
}

/// Returns the credentials in a line of plain text. In the box, any `name:password` counts;
/// elsewhere only that of `admin`.
fn credentials(text: &str, in_box: bool) -> Option<AdminPassword> {
    let found = |username: &str, password: &str| {
        let is_word = !password.is_empty() && !password.contains(char::is_whitespace);
        (is_word && password.len() >= MIN_PASSWORD_BYTES).then(|| AdminPassword {
            username: username.to_owned(),
            password: SecretString::from(password),
        })
    };
    let (name, rest) = text.split_once(':')?;
    let value = rest.trim_start();
    let lower = name.to_lowercase();
    if lower == "password" || lower.ends_with(" password") {
        // The first word after the colon, as in `Password: x (they are only showed once)`.
        return found("admin", value.split_whitespace().next()?);
    }
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    // The heading of the box also has the form `name:password`, and so does a URL.
    if !is_name || rest != value || lower == "username" || value.starts_with("//") {
        return None;
    }
    match in_box || lower == "admin" {
        true => found(name, value),
        false => None,
    }
}

/// Returns a line without control sequences, frames and surrounding space.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // ESC [ parameters final: the final byte is the first one from `@` to `~`.
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
        let mut scanner = PasswordScanner::default();
        let found = text
            .lines()
            .filter_map(|line| scanner.scan(line.as_bytes()))
            .map(|found| format!("{} {}", found.username, found.password.expose_secret()))
            .collect();
        (found, scanner.missed())
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
            // Without the box.
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
    fn ordinary_lines_have_no_password() {
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
    fn later_lines_of_the_box_are_not_a_second_password() {
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
