//! Tests of masking secrets in all encodings.

use base64::Engine as _;
use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD,
};
use proptest::prelude::*;

use super::*;

fn set_of(secrets: &[&str]) -> Secrets {
    let known = Secrets::default();
    for secret in secrets {
        known.add(secret);
    }
    known
}

fn masked(secrets: &[&str], text: &str) -> String {
    set_of(secrets).mask(text).into_owned()
}

/// Returns a secret in the encodings of various programs.
fn forms(secret: &str) -> Vec<String> {
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let percent = |upper: bool, is_kept: &dyn Fn(u8) -> bool| -> String {
        let byte = |byte: u8| match is_kept(byte) {
            true => char::from(byte).to_string(),
            false if upper => format!("%{byte:02X}"),
            false => format!("%{byte:02x}"),
        };
        secret.bytes().map(byte).collect()
    };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    let units = |secret: &str| -> String {
        secret
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect()
    };
    let mut forms = vec![
        secret.to_owned(),
        json(secret),
        json(&json(secret)),
        json(&json(&json(secret))),
        units(secret),
        json(secret)
            .replace('&', "\\u0026")
            .replace('<', "\\u003c")
            .replace('>', "\\u003E"),
        format!("{secret:?}"),
        secret.escape_unicode().to_string(),
        secret
            .bytes()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect(),
        secret.bytes().map(|byte| format!("\\{byte:03o}")).collect(),
        form.clone(),
        form.replace('%', "%25"),
        percent(true, &unreserved),
        percent(false, &unreserved),
        percent(true, &|byte| unreserved(byte) || b"!'()*".contains(&byte)),
        percent(true, &|byte| {
            unreserved(byte) || b"$&+=:;,@!'()*".contains(&byte)
        }),
        percent(false, &|_| false),
        percent(true, &|_| false).replace('%', "%2525"),
        secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;"),
        secret
            .chars()
            .map(|c| format!("&#{};", u32::from(c)))
            .collect(),
        secret
            .chars()
            .map(|c| format!("&#x{:X};", u32::from(c)))
            .collect(),
        format!("'{}'", secret.replace('\'', "''")),
        format!("'{}'", secret.replace('\'', r"'\''")),
        hex::encode(secret),
        hex::encode_upper(secret),
        format!("{:?}", secret.as_bytes()),
        format!("{:?}", secret.as_bytes()).replace(',', ""),
        format!("{:#?}", secret.as_bytes()),
        base32(secret.as_bytes()),
        base32(secret.as_bytes()).to_lowercase(),
        decomposed(secret),
        json(&decomposed(secret)),
        // As a program that takes UTF-16 for UTF-8 prints it.
        json(&secret.chars().flat_map(|c| [c, '\0']).collect::<String>()),
        secret.chars().flat_map(|c| ['\0', c]).collect(),
        secret.chars().map(|c| format!("{c}\u{200b}")).collect(),
        secret
            .chars()
            .map(|c| format!("\u{1b}[31m\u{1b}[1m{c}\u{1b}[0m"))
            .collect(),
    ];
    for units in [u16::to_le_bytes, u16::to_be_bytes] {
        let bytes: Vec<u8> = secret.encode_utf16().flat_map(units).collect();
        forms.extend([hex::encode(&bytes), BASE64_STANDARD.encode(&bytes)]);
    }
    if let Ok(bytes) = secret
        .chars()
        .map(u8::try_from)
        .collect::<Result<Vec<_>, _>>()
    {
        forms.extend([
            crate::text(&bytes).into_owned(),
            hex::encode(&bytes),
            BASE64_STANDARD.encode(&bytes),
            bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
            bytes.iter().map(|byte| format!("\\{byte:03o}")).collect(),
        ]);
    }
    // Alone and as the password of a pair, which shifts it by each of the three alignments.
    for user in ["", "u:", "us:", "use:", "robot$ci:"] {
        for end in ["", "\n", "@host"] {
            let pair = format!("{user}{secret}{end}");
            let encoded = BASE64_STANDARD.encode(&pair);
            forms.push(encoded.replace('/', "\\/"));
            forms.push(json(&encoded).replace('+', "\\u002b"));
            forms.push(url::form_urlencoded::byte_serialize(encoded.as_bytes()).collect());
            forms.push(
                BASE64_STANDARD.encode(format!(r#"{{"auths":{{"h":{{"auth":"{encoded}"}}}}}}"#)),
            );
            forms.push(BASE64_STANDARD.encode(json(&pair)));
            forms.push(encoded);
            forms.push(BASE64_STANDARD_NO_PAD.encode(&pair));
            forms.push(BASE64_URL_SAFE.encode(&pair));
            forms.push(BASE64_URL_SAFE_NO_PAD.encode(&pair));
        }
    }
    forms
}

/// Returns 300 characters, of which none repeats soon.
fn long_secret() -> String {
    (0..300)
        .map(|n| char::from(b'!' + (n * 7 % 90) as u8))
        .collect()
}

fn decomposed(text: &str) -> String {
    DECOMPOSED.normalize(text).into_owned()
}

fn base32(bytes: &[u8]) -> String {
    let groups = bytes.chunks(5).map(|group| {
        let mut bits = [0; 8];
        bits[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bits);
        let digit = |place: usize| {
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits >> (35 - 5 * place) & 31) as usize]
        };
        let digits = (group.len() * 8).div_ceil(5);
        let text: String = (0..digits).map(|place| char::from(digit(place))).collect();
        format!("{text:=<8}")
    });
    groups.collect()
}

/// Returns whether a masked text still reveals the secret.
fn reveals(left: &str, form: &str, secret: &str) -> bool {
    // Quotation marks alone are not searched for.
    let form = form.trim_matches(['"', '\'', '\\']);
    left.contains(secret) || form.len() >= SHORTEST && left.contains(form)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    // 200 secrets in more than 100 forms each.
    #[test]
    fn no_encoding_of_a_secret_stays_visible(
        secret in prop_oneof!["[ -~]{4,40}", "[a-z0-9]{4,12}", "[!-~äßçé漢😀]{4,30}", "[A-Za-z0-9+/=]{40,120}"],
        before in "([ -~]{0,12}[ \"=:,(])?",
        after in "([ \",)\n][ -~]{0,12})?",
    ) {
        prop_assume!(secret.trim() == secret && secret.len() >= SHORTEST);
        let known = set_of(&[&secret]);
        for form in forms(&secret) {
            let text = format!("{before}{form}{after}");
            let left = known.mask(&text);
            prop_assert!(left.contains(MASK), "{text:?} became {left:?}");
            prop_assume!(!MASK.contains(&secret) && !before.contains(&secret) && !after.contains(&secret));
            prop_assert!(!reveals(&left, &form, &secret), "{text:?} became {left:?}");
        }
    }

    #[test]
    fn text_without_a_secret_stays(text in "[a-zA-Z0-9 ./:=-]{0,200}") {
        let known = set_of(&["S3cret!Pass#word", "tök%en", "another one"]);
        prop_assert_eq!(known.mask(&text).into_owned(), text);
    }

    #[test]
    fn any_text_can_be_masked(text in any::<String>(), secret in any::<String>()) {
        let known = set_of(&[&secret]);
        known.add_password("user", &secret);
        let _ = known.mask(&text);
        let _ = known.mask(&format!("{text}{secret}{text}"));
    }
}

#[test]
fn secrets_are_masked_everywhere() {
    for (secrets, text, expected) in [
        (
            &["hunter2"][..],
            "password hunter2, hunter2!",
            "password ***, ***!",
        ),
        (&["hunter", "hunter2"], "is hunter2", "is ***"),
        (
            &["first line\nsecond line\n"],
            "second line first line",
            "*** ***",
        ),
        (
            &["", "\n", "abc"],
            "nothing to hide, abc",
            "nothing to hide, abc",
        ),
        (
            &["info", "1234"],
            "information info: 12345 1234",
            "information ***: 12345 ***",
        ),
        (&["p%41ss"], "p%41ss", "***"),
        (&["0&#A"], "0&#A 0&amp;#A 0&amp;amp;#A", "*** *** ***"),
        (&["0&amp;A"], "0&amp;A 0&amp;amp;A", "*** ***"),
        (&["p%25ss"], "p%25ss p%2525ss p%252525ss", "*** *** ***"),
        (&[r"a\\b"], r"a\\\\b a\\b", "*** ***"),
        (&["hunter2"], "hun\u{1b}[0mter\u{1b}[1m2", "***"),
        (&["höhle"], "die höhle h%C3%B6hle", "die *** ***"),
        (&["hunter2"], "hun\\u001b[0m\\u001b[1mter2", "***"),
        (
            &["hunter2"],
            "h\u{200b}unt\\u{200b}er\u{ad}%00&#8203;2",
            "***",
        ),
        (&[" two words "], "[ two words ] [two words]", "[***] [***]"),
        (&["cafe\u{301}"], "café caf\\xe9 caf%E9", "*** *** ***"),
        (&["漢字ab"], "漢字ab \u{6f22}\u{5b57}ab", "*** ***"),
    ] {
        assert_eq!(masked(secrets, text), expected, "{secrets:?}");
    }
}

#[test]
fn a_digest_that_contains_a_short_secret_stays() {
    let digest = "sha256:00beef0000000000000000000000000000000000000000000000001234000000";
    assert_eq!(masked(&["beef", "1234"], digest), digest);
    assert_eq!(masked(&["beef", "1234"], "beef 1234"), "*** ***");
}

#[test]
fn a_short_password_is_masked_in_its_pair_alone() {
    let known = Secrets::default();
    known.add_password("admin", "pw");
    assert_eq!(known.mask("pw of admin:pw"), "pw of ***");
    let encoded = BASE64_STANDARD.encode("admin:pw");
    assert_eq!(known.mask(&format!("[{encoded}]")), "[***]");
    known.add_password("admin", " p ");
    assert_eq!(known.mask("admin: p ; admin:p;"), "***; ***;");
    known.add_password("admin", "");
    assert_eq!(known.mask("admin: none"), "admin: none");
}

#[test]
fn a_secret_that_was_cut_off_is_masked() {
    for cut in ["swordfi\\u00", "swordfi%", "swordfi&#11…", "swordfi\\x7"] {
        let left = masked(&["swordfish-and-more"], cut);
        assert!(left.starts_with(MASK), "{left}");
    }
    assert_eq!(
        masked(&["swordfish-and-more"], "denied: swordfish…"),
        "denied: ***…"
    );
    assert_eq!(
        masked(&["swordfish-and-more"], "denied: swordfi"),
        "denied: ***"
    );
    assert_eq!(
        masked(&["swordfish-and-more"], "denied: sword"),
        "denied: sword"
    );
}

#[test]
fn wrapped_base64_of_a_long_secret_is_masked_line_by_line() {
    let secret = long_secret();
    let known = set_of(&[&secret]);
    for width in [64, 76] {
        let encoded = BASE64_STANDARD.encode(&secret);
        let lines: Vec<&str> = (0..encoded.len())
            .step_by(width)
            .map(|at| &encoded[at..encoded.len().min(at + width)])
            .collect();
        for line in &lines[..lines.len() - 1] {
            assert!(known.mask(line).contains(MASK), "{line}");
        }
        let whole = lines.join("\n  ");
        assert_eq!(known.mask(&whole), MASK, "{whole}");
    }
}

#[test]
fn the_lines_of_a_wrapped_long_secret_are_masked_whole() {
    let secret = long_secret();
    let known = set_of(&[&secret]);
    for width in [32, 40, 64, 76] {
        for start in (0..secret.len() - 31).step_by(width) {
            let line = &secret[start..secret.len().min(start + width)];
            let masked = known.mask(line);
            assert_eq!(masked, MASK, "{line}");
        }
    }
}

#[test]
fn hexadecimal_digits_with_separators_are_masked() {
    let secret = "a-long-password-that-is-wrapped-or-dumped-0123456789-abcdef";
    let known = set_of(&[secret, "swordfish"]);
    let digits = |bytes: &[u8], group: usize, separator: &str| {
        let groups = bytes.chunks(group).map(hex::encode);
        groups.collect::<Vec<_>>().join(separator)
    };
    for text in [
        digits(b"swordfish", 1, ":"),
        digits(b"swordfish", 1, " "),
        digits(b"swordfish", 2, " "),
        digits(&secret.as_bytes()[16..32], 2, " "),
    ] {
        assert_eq!(known.mask(&text), MASK, "{text}");
    }
    assert_eq!(known.mask("add a face"), "add a face");
}

#[test]
fn a_piece_of_a_line_is_masked_only_where_a_secret_is_whole() {
    let known = set_of(&["swordfish"]);
    let mut piece = b"swordfish and swordfi".to_vec();
    known.mask_piece(&mut piece);
    assert_eq!(piece, b"*** and swordfi");
}

#[test]
fn tokens_are_recognised_by_their_context() {
    for (text, expected) in [
        (
            "Authorization: Bearer abcdefghijklmnopqrstuvwxyz==",
            "Authorization: Bearer ***",
        ),
        ("sent `basic dXNlcjpwYXNz`", "sent `basic ***`"),
        (
            r#"Bearer realm="https://auth.example.com/token""#,
            r#"Bearer realm="https://auth.example.com/token""#,
        ),
        (
            "basic authentication is needed",
            "basic authentication is needed",
        ),
        (
            "proxy http://user:pa:ss@proxy:3128/",
            "proxy http://user:***@proxy:3128/",
        ),
        ("http://host/a@b:c", "http://host/a@b:c"),
        (
            "set http://USER:PASSWORD@HOST",
            "set http://USER:PASSWORD@HOST",
        ),
        (
            "https://s3/x?X-Amz-Date=1&X-Amz-Signature=abc/d%2F&y",
            "https://s3/x?X-Amz-Date=1&X-Amz-Signature=***&y",
        ),
        (
            "https://s3/x?a=1&amp;sig=abc\"",
            "https://s3/x?a=1&amp;sig=***\"",
        ),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "***"),
        ("eyJhbGci.com", "eyJhbGci.com"),
        ("Bearer abcdefghijklmnopqrstuvwxyzé123 x", "Bearer *** x"),
    ] {
        assert_eq!(Secrets::default().mask(text), expected);
    }
}

#[test]
fn urls_have_secrets() {
    let known = Secrets::default();
    known.add_url("http://me:p%40ssw0rd@proxy:3128/?a=1&X-Sig=0123456789abcdefghij");
    assert_eq!(
        known.mask("p@ssw0rd p%40ssw0rd 0123456789abcdefghij 1"),
        "*** *** *** 1"
    );
}

#[test]
fn a_password_in_a_url_may_have_unencoded_characters() {
    for password in ["pa/ss-word", "pa?ss#word", "p@ss/w@rd", "12345/secret"] {
        let known = Secrets::default();
        known.add_url(&format!("http://me:{password}@proxy:3128"));
        let masked = known.mask(password).into_owned();
        assert_eq!(masked, MASK, "{password}");
    }
    // An `@` in a path does not begin a host.
    let known = Secrets::default();
    known.add_url("https://me:hunter22@registry.example/image@sha256:00");
    assert_eq!(
        known.mask("hunter22 registry.example"),
        "*** registry.example"
    );
}

#[test]
fn clones_share_their_secrets_and_debug_shows_none() {
    let known = Secrets::default();
    known.clone().add("hunter2");
    assert_eq!(known.mask("hunter2"), MASK);
    assert_eq!(format!("{known:?}"), "1 secrets");
}

#[test]
fn a_user_name_at_the_end_of_a_text_is_shown_and_a_pair_that_was_cut_is_not() {
    let secrets = Secrets::default();
    secrets.add_password("planted-puller-3e9b", "planted-pull-password-c2d8");
    let shown = "--image-registry-username planted-puller-3e9b";
    assert_eq!(secrets.mask(shown), shown);
    assert_eq!(secrets.mask("planted-puller-3e9b:planted-pu"), "***");
}

/// A token as registries issue it, a different one for each number.
fn token(number: u64) -> String {
    let mut state = number;
    let characters = (0..2000).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let place = (state >> 33) as usize % 64;
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[place])
    });
    format!("eyJhbGciOiJSUzI1NiJ9.{}", characters.collect::<String>())
}

#[test]
fn hundreds_of_tokens_cost_about_as_much_as_one() {
    let log: String = (10_000..10_020)
        .map(|number| format!("{{\"a\": \"b%20c\",\n\"digest\": \"{}\"}}\n", token(number)))
        .collect();
    let time = |tokens: u64| {
        let secrets = Secrets::default();
        for number in 0..tokens {
            secrets.add_token(&token(number), Duration::from_secs(300));
        }
        let text = format!("{log} {}", &token(tokens - 1)[1000..1100]);
        let began = Instant::now();
        let masked = secrets.mask(&text);
        assert!(masked.contains(MASK));
        began.elapsed()
    };
    let (one, many) = (time(1), time(300));
    assert!(many < one * 10, "{one:?} {many:?}");
}

#[test]
fn a_token_is_dropped_some_time_after_its_life() {
    let began = Instant::now();
    let life = Duration::from_secs(300);
    let mut tokens = Tokens::default();
    for round in 0..20 {
        let now = began + round * Duration::from_secs(100);
        tokens.make_room(now, life);
        tokens.later.insert(Pattern::new(&token(round.into())));
        let held = tokens.earlier.len() + tokens.later.len();
        // At least the tokens of the last 300 seconds, and at most those of twice that time.
        let all = round as usize + 1;
        assert!((all.min(4)..=8).contains(&held), "{round}: {held}");
    }
}
