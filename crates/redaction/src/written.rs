//! Matches one secret in every encoding of its characters: plain, escaped for JSON, YAML, shells,
//! Go or Rust, percent-encoded, as HTML entities, in Latin-1 or UTF-16. Encodings may be mixed,
//! since encoders differ in the characters that they leave alone.

use std::ops::Range;
use std::sync::Arc;

use crate::escape;

/// A match of a secret below [`SHORT`] in a longer run of hexadecimal digits counts as part of a
/// digest.
const DIGEST: usize = 32;

/// Secrets with fewer bytes occur in digests by chance.
const SHORT: usize = 12;

/// A secret with fewer bytes that consists of lower-case letters or of digits is masked only as a
/// whole word. The secret `info` leaves `information` alone.
const LONGEST_WORD: usize = 8;

/// Minimum characters of a secret that are masked at the end of a text that was cut off.
const SHORTEST_CUT: usize = 6;

/// Maximum number of nested escapes: `%2525`, `\\\\`.
const DEEPEST: usize = 16;

/// Characters that may be invisible between any two others: the zeros of UTF-16, the beginning of a
/// colour, and characters without width.
const HIDDEN: &str = "\0\u{1b}\u{ad}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
     \u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}";

/// A secret to search for.
#[derive(PartialEq, Eq)]
pub(crate) struct Pattern {
    secret: Box<str>,
    /// Number of leading characters that are not secret: a user name and its colon.
    public: usize,
    is_hexadecimal: bool,
    is_word: bool,
    /// The secret that this is a part of, and the place of the part in it.
    whole: Option<(Arc<str>, usize)>,
}

/// Calls `each` with the encodings of a character: UTF-8, UTF-16, and Latin-1, which Go and YAML
/// also use for escaped code points.
fn encodings(character: char, each: &mut dyn FnMut(&[u8])) {
    each(character.encode_utf8(&mut [0; 4]).as_bytes());
    match u8::try_from(character) {
        // In UTF-16 a zero follows, which is skipped as hidden.
        Ok(byte) if !character.is_ascii() => each(&[byte]),
        Ok(_) => {}
        Err(_) => {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units).iter();
            let little: Vec<u8> = units.clone().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units.flat_map(|unit| unit.to_be_bytes()).collect();
            each(&little);
            each(&big);
        }
    }
}

/// Returns whether a byte stands only for the character itself.
pub(crate) fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && !b"%\\&+'\"".contains(&byte)
}

impl Pattern {
    pub(crate) fn new(secret: &str) -> Self {
        Self {
            secret: secret.into(),
            public: 0,
            is_hexadecimal: secret.bytes().all(|byte| byte.is_ascii_hexdigit()),
            is_word: secret.len() < LONGEST_WORD
                && (secret.bytes().all(|byte| byte.is_ascii_lowercase())
                    || secret.bytes().all(|byte| byte.is_ascii_digit())),
            whole: None,
        }
    }

    /// Returns the pattern of a part of an ASCII secret.
    pub(crate) fn of_part(whole: &Arc<str>, part: Range<usize>) -> Self {
        Self {
            whole: Some((Arc::clone(whole), part.start)),
            ..Self::new(&whole[part])
        }
    }

    /// Returns the pattern of `username:password`.
    pub(crate) fn of_pair(username: &str, password: &str) -> Self {
        Self {
            public: username.chars().count() + 1,
            ..Self::new(&format!("{username}:{password}"))
        }
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Returns the end of the secret, if it begins at `start`. If `is_complete`, the text is
    /// complete, and a secret that was cut off at its end matches, too.
    pub(crate) fn end(&self, text: &[u8], start: usize, is_complete: bool) -> Option<usize> {
        let mut characters = self.secret.chars();
        let first = characters.next()?;
        let mut places = Vec::new();
        readings(text, start, first, &mut places);
        if places.is_empty() {
            return None;
        }
        let mut next = Vec::new();
        for (matched, character) in (1..).zip(characters) {
            next.clear();
            pass_hidden(text, &mut places);
            for place in &places {
                readings(text, *place, character, &mut next);
            }
            if next.is_empty() {
                let was_cut = is_complete
                    && matched > self.public
                    && matched >= SHORTEST_CUT.max(self.secret.chars().count() / 4)
                    && places.iter().any(|place| is_cut(&text[*place..]));
                return was_cut.then(|| text.len().min(*places.iter().max().unwrap_or(&start)));
            }
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut places, &mut next);
        }
        let end = *places.iter().max()?;
        (!self.is_in_digest(text, start, end) && !self.is_in_word(text, start, end)).then_some(end)
    }

    /// Returns the range of a match. That of a part includes the bytes before and after it that
    /// continue the whole secret: a wrapped line rarely begins where a part does.
    pub(crate) fn widened(&self, text: &[u8], matched: Range<usize>) -> Range<usize> {
        let Some((whole, place)) = &self.whole else {
            return matched;
        };
        let whole = whole.as_bytes();
        let earlier = text[..matched.start].iter().rev();
        let before = earlier.zip(whole[..*place].iter().rev());
        let later = text[matched.end..].iter();
        let after = later.zip(&whole[place + self.secret.len()..]);
        let before = before.take_while(|(byte, expected)| byte == expected);
        let after = after.take_while(|(byte, expected)| byte == expected);
        matched.start - before.count()..matched.end + after.count()
    }

    fn is_in_word(&self, text: &[u8], start: usize, end: usize) -> bool {
        let before = &text[..start];
        // The letter at the end of a colour is not part of the word.
        let colour = before.iter().rev().take(40).position(|byte| *byte == b'[');
        let colour = colour.and_then(|at| {
            escape::colour_after(&before[start - at - 1..]).filter(|length| *length == at + 1)
        });
        let before = before.last().filter(|_| colour.is_none());
        let after = text.get(end);
        self.is_word
            && [before, after]
                .into_iter()
                .flatten()
                .any(u8::is_ascii_alphanumeric)
    }

    fn is_in_digest(&self, text: &[u8], start: usize, end: usize) -> bool {
        if !self.is_hexadecimal || self.secret.len() >= SHORT {
            return false;
        }
        let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
        let before = text[..start].iter().rev().take_while(is_digit).count();
        let after = text[end..].iter().take_while(is_digit).count();
        before + after > 0 && before + (end - start) + after >= DIGEST
    }
}

/// Returns whether a text ends here or was shortened here, possibly within an escape.
fn is_cut(rest: &[u8]) -> bool {
    let is_escape = |byte: &&u8| byte.is_ascii_alphanumeric() || b"%\\&#{".contains(byte);
    let rest = match rest.first() {
        Some(b'%' | b'\\' | b'&') => &rest[rest.iter().take(10).take_while(is_escape).count()..],
        _ => rest,
    };
    rest.is_empty() || rest.starts_with("…".as_bytes()) || rest.starts_with(b"...")
}

/// Adds each place after hidden characters, in any encoding.
pub(crate) fn pass_hidden(text: &[u8], places: &mut Vec<usize>) {
    let mut next = 0;
    while let Some(place) = places.get(next).copied() {
        next += 1;
        let first = text.get(place).copied().unwrap_or(b' ');
        let may_hide = matches!(first, b'%' | b'\\' | b'&' | 0..0x20 | 0xc2..);
        if !may_hide {
            continue;
        }
        for hidden in HIDDEN.chars() {
            let mut ends = Vec::new();
            readings(text, place, hidden, &mut ends);
            for end in ends {
                let end = match hidden {
                    '\u{1b}' => escape::colour_after(&text[end..]).map(|length| end + length),
                    _ => Some(end),
                };
                places.extend(end.filter(|end| !places.contains(end)));
            }
        }
    }
}

/// Adds each place after `character`, in any encoding at `place`.
pub(crate) fn readings(text: &[u8], place: usize, character: char, ends: &mut Vec<usize>) {
    let Some(rest) = text.get(place..).filter(|rest| !rest.is_empty()) else {
        return;
    };
    encodings(character, &mut |bytes| {
        if rest.starts_with(bytes) {
            ends.push(place + bytes.len());
        }
        match rest[0] {
            b'%' => percent(rest, bytes, &mut |length| ends.push(place + length)),
            b'\\' => ends.extend(coded_bytes(rest, bytes).map(|length| place + length)),
            _ => {}
        }
    });
    match rest[0] {
        b'\\' => backslash(rest, character, &mut |length| ends.push(place + length)),
        b'&' => entity(rest, character, &mut |length| ends.push(place + length)),
        b'+' if character == ' ' => ends.push(place + 1),
        // YAML and SQL double a quotation mark. A shell interrupts the quotation for it.
        b'\'' | b'"' if char::from(rest[0]) == character => {
            for doubled in [&b"''"[..], b"\"\"", br"'\''", br#"'"'"'"#] {
                if rest.starts_with(doubled) {
                    ends.push(place + doubled.len());
                }
            }
        }
        _ => {}
    }
}

/// Calls `end` with each length of a character that is percent-encoded, once or several times.
fn percent(text: &[u8], bytes: &[u8], end: &mut dyn FnMut(usize)) {
    let (last, first) = bytes.split_last().unwrap_or((&0, &[]));
    let mut length = 0;
    for byte in first {
        let mut next = None;
        percent_byte(&text[length..], *byte, &mut |end| next = Some(end));
        let Some(next) = next else { return };
        length += next;
    }
    percent_byte(&text[length..], *last, &mut |last| end(length + last));
}

/// A percent sign has several lengths: `%2525` may be one, or one and `25`.
fn percent_byte(text: &[u8], byte: u8, end: &mut dyn FnMut(usize)) {
    if text.first() != Some(&b'%') {
        return;
    }
    let mut at = 1;
    for _ in 0..DEEPEST {
        if hexadecimal(text, at, 2) == Some(u32::from(byte)) {
            end(at + 2);
        }
        if !text.get(at..).is_some_and(|rest| rest.starts_with(b"25")) {
            return;
        }
        at += 2;
    }
}

fn backslash(text: &[u8], character: char, end: &mut dyn FnMut(usize)) {
    let run = backslashes(text);
    if character == '\\' {
        (2..=run).for_each(&mut *end);
    }
    let Some(rest) = text.get(run..).filter(|rest| !rest.is_empty()) else {
        return;
    };
    if rest.starts_with(character.encode_utf8(&mut [0; 4]).as_bytes()) {
        end(run + character.len_utf8());
    }
    let short = match rest[0] {
        b'n' => Some('\n'),
        b'r' => Some('\r'),
        b't' => Some('\t'),
        b'b' => Some('\u{8}'),
        b'f' => Some('\u{c}'),
        b'v' => Some('\u{b}'),
        b'a' => Some('\u{7}'),
        b'e' => Some('\u{1b}'),
        b'_' => Some('\u{a0}'),
        _ => None,
    };
    if short == Some(character) {
        end(run + 1);
    }
    if let Some(length) = unicode(rest, character) {
        end(run + length);
    }
}

/// Returns the length of `u0041`, `ud83d\ude00`, `u{41}` or `U00000041`, if it is the character.
fn unicode(text: &[u8], character: char) -> Option<usize> {
    let code = u32::from(character);
    match text[0] {
        b'u' if text.get(1) == Some(&b'{') => {
            let digits = text[2..]
                .iter()
                .take(8)
                .take_while(|byte| byte.is_ascii_hexdigit());
            let digits = digits.count();
            let is_closed = text.get(2 + digits) == Some(&b'}');
            (is_closed && hexadecimal(text, 2, digits) == Some(code)).then_some(digits + 3)
        }
        b'u' => {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            let mut length = 0;
            for (index, unit) in units.iter().enumerate() {
                if index > 0 {
                    length += backslashes(&text[length..]);
                }
                let is_unit = text.get(length) == Some(&b'u')
                    && hexadecimal(text, length + 1, 4) == Some(u32::from(*unit));
                if !is_unit {
                    return None;
                }
                length += 5;
            }
            Some(length)
        }
        b'U' => (hexadecimal(text, 1, 8) == Some(code)).then_some(9),
        _ => None,
    }
}

/// Returns the length of a character whose bytes are written as `\x41` or `\101`.
fn coded_bytes(text: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for byte in bytes {
        let run = backslashes(&text[length..]);
        let rest = text.get(length + run..).filter(|_| run > 0)?;
        let is_hexadecimal =
            rest.first() == Some(&b'x') && hexadecimal(rest, 1, 2) == Some(u32::from(*byte));
        if !is_hexadecimal && !rest.starts_with(format!("{byte:03o}").as_bytes()) {
            return None;
        }
        length += run + 3;
    }
    Some(length)
}

/// Calls `end` with each length of `&amp;`, `&#38;` and `&#x26;`, escaped once or several times.
/// `&amp;amp;` may be one ampersand, or one and `amp;`.
fn entity(text: &[u8], character: char, end: &mut dyn FnMut(usize)) {
    let name = match character {
        '&' => "amp;",
        '<' => "lt;",
        '>' => "gt;",
        '"' => "quot;",
        '\'' => "apos;",
        '\u{a0}' => "nbsp;",
        _ => "",
    };
    let mut at = 1;
    for _ in 0..DEEPEST {
        let rest = &text[at..];
        if !name.is_empty() && rest.starts_with(name.as_bytes()) {
            end(at + name.len());
        }
        if let Some((code, length)) = number(rest)
            && code == u32::from(character)
        {
            end(at + length);
        }
        if !rest.starts_with(b"amp;") {
            return;
        }
        at += "amp;".len();
    }
}

/// Returns the number in `#38;` or `#x26;`, and its length.
fn number(text: &[u8]) -> Option<(u32, usize)> {
    let digits = text.strip_prefix(b"#")?;
    let (digits, radix) = match digits.strip_prefix(b"x").or(digits.strip_prefix(b"X")) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    let end = digits.iter().position(|byte| *byte == b';')?;
    let number = std::str::from_utf8(&digits[..end]).ok()?;
    let code = u32::from_str_radix(number, radix).ok()?;
    Some((code, text.len() - digits.len() + end + 1))
}

/// Returns the number of backslashes at the beginning of a text.
fn backslashes(text: &[u8]) -> usize {
    let leading = text.iter().take(DEEPEST);
    leading.take_while(|byte| **byte == b'\\').count()
}

fn hexadecimal(text: &[u8], at: usize, digits: usize) -> Option<u32> {
    let digits = text.get(at..at + digits)?;
    // `from_str_radix` alone would accept a sign.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
