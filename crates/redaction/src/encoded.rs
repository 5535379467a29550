//! Finds runs of base64, base32 and hexadecimal digits and of decimal byte values in a text, and
//! decodes them at every alignment.

use std::ops::Range;

/// Minimum digits of a run: the base64 of the shortest secret that is masked.
const SHORTEST: usize = 6;

/// Minimum numbers of a run: the bytes of the shortest secret.
const SHORTEST_NUMBERS: usize = 4;

/// Minimum digits of a line, if wrapped base64 continues on the next one.
const SHORTEST_LINE: usize = 16;

/// A run of digits, with the value and the range of each.
pub(crate) struct Run {
    bits: usize,
    digits: Vec<(u8, Range<usize>)>,
    /// End of the padding.
    end: usize,
}

/// The bytes that a run encodes, without its first `skipped` digits.
pub(crate) struct Decoded<'a> {
    run: &'a Run,
    skipped: usize,
    bytes: Vec<u8>,
}

/// Returns the runs of base64, base32 and hexadecimal digits and of numbers in a text.
pub(crate) fn runs(text: &[u8]) -> Vec<Run> {
    let mut runs = find(text, 6, base64_digit);
    runs.extend(find(text, 4, hexadecimal_digit));
    runs.extend(find(text, 8, number));
    runs.extend(find(text, 5, |text| {
        let value = match text.first()?.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        Some((value, 1))
    }));
    runs
}

impl Run {
    /// Decodes the run at every alignment of bytes and digits.
    pub(crate) fn decoded(&self) -> impl Iterator<Item = Decoded<'_>> {
        // Number of alignments: after so many digits, a byte begins at the same bit again.
        let phases = match self.bits {
            6 => 4,
            5 => 8,
            8 => 1,
            _ => 2,
        };
        (0..phases).map(|skipped| {
            let mut bytes = Vec::with_capacity(self.digits.len() * self.bits / 8);
            let (mut value, mut bits) = (0_u32, 0);
            for (digit, _) in self.digits.iter().skip(skipped) {
                value = (value << self.bits | u32::from(*digit)) & 0xffff;
                bits += self.bits;
                if bits >= 8 {
                    bits -= 8;
                    bytes.push(((value >> bits) & 0xff) as u8);
                }
            }
            Decoded {
                run: self,
                skipped,
                bytes,
            }
        })
    }
}

impl Decoded<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the range of the text that encodes these bytes.
    pub(crate) fn place(&self, bytes: Range<usize>) -> Range<usize> {
        let bits = self.run.bits;
        let digits = &self.run.digits[self.skipped..];
        let first = bytes.start * 8 / bits;
        let last = (bytes.end * 8).div_ceil(bits).min(digits.len()) - 1;
        let end = match last + 1 == digits.len() {
            true => self.run.end,
            false => digits[last].1.end,
        };
        digits[first].1.start..end
    }
}

/// Returns a byte in decimal, and its length including the separator: `[115, 51]`, or `[115 51]` in
/// Go.
fn number(text: &[u8]) -> Option<(u8, usize)> {
    let digits = text.iter().take(4).take_while(|byte| byte.is_ascii_digit());
    let digits = digits.count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    let separates = |byte: &&u8| b", \t\r\n".contains(byte);
    let after = text[digits..].iter().take_while(separates).count();
    Some((value, digits + after))
}

/// Returns the value of a hexadecimal digit, and its length including a separator: `73:33`, or
/// `7333 6372` in the output of `xxd`.
fn hexadecimal_digit(text: &[u8]) -> Option<(u8, usize)> {
    let value = |place: usize| char::from(*text.get(place)?).to_digit(16);
    let is_separated = matches!(text.get(1), Some(b':' | b' ')) && value(2).is_some();
    Some((u8::try_from(value(0)?).ok()?, 1 + usize::from(is_separated)))
}

/// Returns the value and the length of a base64 digit, of the standard or the URL-safe alphabet,
/// plain or escaped.
fn base64_digit(text: &[u8]) -> Option<(u8, usize)> {
    let value = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        })
    };
    let first = *text.first()?;
    if let Some(value) = value(first) {
        return Some((value, 1));
    }
    let (byte, length) = escaped(text)?;
    value(byte)
        .filter(|value| *value >= 62)
        .map(|value| (value, length))
}

/// Reads `%2B`, `%252B`, `\u002b` and `\/`: escaped base64 digits that are not letters or numbers.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let code = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 2)?).ok()?;
        u8::from_str_radix(digits, 16).ok()
    };
    match *text.first()? {
        b'%' => {
            let mut at = 1;
            while text[at..].starts_with(b"25") {
                at += 2;
            }
            Some((code(at)?, at + 2))
        }
        b'\\' => {
            let run = text.iter().take_while(|byte| **byte == b'\\').count();
            match text.get(run)? {
                b'/' => Some((b'/', run + 1)),
                b'u' if text[run + 1..].starts_with(b"00") => Some((code(run + 3)?, run + 5)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn find(text: &[u8], bits: usize, digit: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut place = 0;
    while place < text.len() {
        let mut digits = Vec::new();
        let mut on_line = 0;
        loop {
            if let Some((value, length)) = digit(&text[place..]) {
                digits.push((value, place..place + length));
                place += length;
                on_line += 1;
                continue;
            }
            match line_end(&text[place..]) {
                Some(length)
                    if on_line >= SHORTEST_LINE && digit(&text[place + length..]).is_some() =>
                {
                    place += length;
                    on_line = 0;
                }
                _ => break,
            }
        }
        let shortest = match bits {
            8 => SHORTEST_NUMBERS,
            _ => SHORTEST,
        };
        if digits.len() >= shortest {
            let end = place
                + match bits {
                    4 | 8 => 0,
                    _ => padding(&text[place..]),
                };
            runs.push(Run { bits, digits, end });
        }
        place += 1;
    }
    runs
}

/// Returns the length of a line end, plain or escaped, and of the indentation after it.
fn line_end(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    for end in [&b"\\r"[..], b"\r", b"\\n", b"\n"] {
        if text[length..].starts_with(end) {
            length += end.len();
        }
    }
    let indentation = text[length..]
        .iter()
        .take_while(|byte| **byte == b' ')
        .count();
    (length > 0).then_some(length + indentation)
}

fn padding(text: &[u8]) -> usize {
    let mut length = 0;
    for _ in 0..6 {
        let rest = &text[length..];
        length += match rest.first() {
            Some(b'=') => 1,
            _ => match escaped(rest) {
                Some((b'=', length)) => length,
                _ => break,
            },
        };
    }
    length
}
