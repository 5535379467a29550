//! Cuts a stream of bytes into lines and masks secrets in them.
//!
//! Masking requires whole lines: the border between two chunks may cut a secret.

use redaction::Secrets;
use secrecy::ExposeSecret;

use crate::password::{AdminPassword, PasswordScanner};

/// A longer line is handed over in pieces, which bounds memory.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Assembles the lines of a stream.
pub(crate) struct Lines {
    partial: Vec<u8>,
    secrets: Secrets,
    /// Scans for the administrator's password. `None` if the stream is passed on verbatim.
    scanner: Option<PasswordScanner>,
    passwords: Vec<AdminPassword>,
}

impl Lines {
    /// Returns an empty stream that masks `secrets`.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            partial: Vec::new(),
            secrets,
            scanner: Some(PasswordScanner::default()),
            passwords: Vec::new(),
        }
    }

    /// Returns an empty stream whose lines are not masked or scanned.
    pub(crate) fn verbatim() -> Self {
        Self {
            scanner: None,
            ..Self::new(Secrets::default())
        }
    }

    /// Returns the administrator's passwords found since the last call. They are masked already.
    pub(crate) fn take_passwords(&mut self) -> Vec<AdminPassword> {
        std::mem::take(&mut self.passwords)
    }

    /// Returns whether a password was announced and none was found.
    pub(crate) fn missed_password(&self) -> bool {
        self.scanner.as_ref().is_some_and(PasswordScanner::missed)
    }

    /// Adds a chunk and passes each line that it completes to `line`, with its line end.
    pub(crate) fn push(&mut self, chunk: &[u8], line: &mut dyn FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end + 1);
            self.partial.extend_from_slice(head);
            rest = tail;
            self.hand_over(line);
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > MAX_LINE_BYTES {
            self.hand_over_piece(line);
        }
    }

    /// Passes the rest after the last line end to `line`.
    pub(crate) fn finish(&mut self, line: &mut dyn FnMut(&[u8])) {
        if !self.partial.is_empty() {
            self.hand_over(line);
        }
    }

    fn hand_over(&mut self, line: &mut dyn FnMut(&[u8])) {
        let Some(scanner) = &mut self.scanner else {
            line(&self.partial);
            self.partial.clear();
            return;
        };
        if let Some(found) = scanner.scan(&self.partial) {
            self.secrets.add(found.password.expose_secret());
            self.passwords.push(found);
        }
        let text = redaction::text(&self.partial);
        line(self.secrets.mask(&text).as_bytes());
        self.partial.clear();
    }

    /// Hands over an unfinished line except for its end, where a secret may have begun.
    fn hand_over_piece(&mut self, line: &mut dyn FnMut(&[u8])) {
        let mut kept = 0;
        if self.scanner.is_some() {
            self.secrets.mask_piece(&mut self.partial);
            kept = self.secrets.longest();
        }
        let piece = self.partial.len().saturating_sub(kept);
        line(&self.partial[..piece]);
        self.partial.drain(..piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(secrets: &[&str], chunks: &[&[u8]]) -> Vec<String> {
        let masked = Secrets::default();
        secrets.iter().for_each(|secret| masked.add(secret));
        let mut lines = Lines::new(masked);
        let mut seen = Vec::new();
        let mut note = |line: &[u8]| seen.push(String::from_utf8(line.to_vec()).unwrap());
        for chunk in chunks {
            lines.push(chunk, &mut note);
        }
        lines.finish(&mut note);
        seen
    }

    #[test]
    fn lines_are_complete_for_any_chunks() {
        let text = b"one\n\ntwo\r\nthree";
        let whole = lines(&[], &[text]);
        assert_eq!(whole, ["one\n", "\n", "two\r\n", "three"]);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&[], &bytes), whole);
        assert_eq!(lines(&[], &[]), [""; 0]);
    }

    #[test]
    fn secrets_are_masked_even_when_a_chunk_ends_within_one() {
        for (secrets, text, expected) in [
            (
                &["hunter2"][..],
                "password hunter2, hunter2!\n",
                "password ***, ***!\n",
            ),
            (&["hunter", "hunter2"], "is hunter2\n", "is ***\n"),
            (&["hunter2"], "hun\u{1b}[0mter\u{1b}[1m2\n", "***\n"),
        ] {
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(3).collect();
            assert_eq!(lines(secrets, &bytes), [expected], "{secrets:?}");
        }
    }

    #[test]
    fn the_administrator_password_is_found_and_masked_for_any_chunks() {
        let text = "They are only showed once\nadmin:aLSgtjNiusU\nagain aLSgtjNiusU.\n";
        for cut in 0..text.len() {
            let mut lines = Lines::new(Secrets::default());
            let mut seen = Vec::new();
            let mut note = |line: &[u8]| seen.extend_from_slice(line);
            let (first, second) = text.as_bytes().split_at(cut);
            lines.push(first, &mut note);
            lines.push(second, &mut note);
            lines.finish(&mut note);
            let seen = String::from_utf8(seen).unwrap();
            assert_eq!(seen, "They are only showed once\nadmin:***\nagain ***.\n");
            let passwords = lines.take_passwords();
            assert_eq!(passwords.len(), 1);
            assert_eq!(passwords[0].password.expose_secret(), "aLSgtjNiusU");
            assert!(!lines.missed_password());
        }
    }

    #[test]
    fn a_long_line_comes_in_pieces_that_cut_no_secret() {
        const CHUNK: usize = 4096;
        // The first piece ends with the first chunk beyond the limit, right after the secret began.
        let mut text = vec![b'x'; MAX_LINE_BYTES + CHUNK - 3];
        text.extend_from_slice(b"hunter2");
        text.extend(vec![b'y'; MAX_LINE_BYTES]);
        let chunks: Vec<&[u8]> = text.chunks(CHUNK).collect();
        let pieces = lines(&["hunter2"], &chunks);
        assert!(pieces.len() > 1);
        let longest = pieces.iter().map(String::len).max().unwrap();
        assert!(longest <= MAX_LINE_BYTES + CHUNK, "{longest}");
        let whole = pieces.concat();
        assert!(!whole.contains("hunter2") && whole.contains("***"));
        assert_eq!(whole.len(), text.len() - "hunter2".len() + "***".len());
    }
}
