//! Recognises from its first bytes whether a file is a program for this machine.
//!
//! The operating system reports it too late: the C library starts a shell for an unknown format,
//! which reads the file as a script and prints garbage.

use std::env::consts::{ARCH, OS};

/// Number of bytes that [`foreign`] requires.
pub(crate) const HEADER: usize = 20;

/// Returns the kind of a file with these first bytes, if this machine cannot run it.
pub(crate) fn foreign(header: &[u8]) -> Option<&'static str> {
    foreign_to(OS, ARCH, header)
}

fn foreign_to(system: &str, architecture: &str, header: &[u8]) -> Option<&'static str> {
    match header {
        [b'#', b'!', ..] => None,
        [0x7f, b'E', b'L', b'F', ..] if system == "macos" => Some("a Linux program"),
        // Byte 5 is the byte order, 1 for little-endian. The last two bytes are `e_machine`.
        [0x7f, b'E', b'L', b'F', _, 1, .., low, high] if header.len() == HEADER => {
            match (u16::from_le_bytes([*low, *high]), architecture) {
                (62, "x86_64") | (183, "aarch64") => None,
                (62, _) => Some("a program for x86_64"),
                (183, _) => Some("a program for arm64"),
                _ => Some("a program for another architecture"),
            }
        }
        [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            (system != "macos").then_some("a macOS program")
        }
        [0x1f, 0x8b, ..] => Some("a gzip archive"),
        [] => Some("an empty file"),
        _ => Some("no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u8) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[18] = machine;
        header
    }

    #[test]
    fn files_are_distinguished_by_their_beginning() {
        for (system, architecture, header, expected) in [
            ("linux", "x86_64", &elf(62)[..], None),
            ("linux", "aarch64", &elf(183), None),
            ("linux", "x86_64", &elf(183), Some("a program for arm64")),
            ("linux", "aarch64", &elf(62), Some("a program for x86_64")),
            (
                "linux",
                "x86_64",
                &elf(8),
                Some("a program for another architecture"),
            ),
            ("macos", "aarch64", &elf(183), Some("a Linux program")),
            (
                "linux",
                "x86_64",
                b"\xcf\xfa\xed\xfe\x0c\0\0\x01",
                Some("a macOS program"),
            ),
            ("macos", "aarch64", b"\xcf\xfa\xed\xfe\x0c\0\0\x01", None),
            ("linux", "x86_64", b"#!/bin/sh\n", None),
            ("linux", "x86_64", b"\x1f\x8b\x08", Some("a gzip archive")),
            ("linux", "x86_64", b"\x7fELF", Some("no program")),
            ("linux", "x86_64", b"<!DOCTYPE html>", Some("no program")),
            ("linux", "x86_64", b"", Some("an empty file")),
        ] {
            assert_eq!(
                foreign_to(system, architecture, header),
                expected,
                "{system} {architecture} {header:?}"
            );
        }
    }
}
