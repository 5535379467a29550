//! Rows from Go's `httpproxy/proxy_test.go`, and rows that only its code defines.

use super::*;

/// Returns the proxies of variables that are written as `NAME=value`.
fn proxies(variables: &[&str]) -> Proxies {
    Proxies::from_variables(|name| {
        let mut named = variables.iter().filter_map(|one| one.split_once('='));
        named
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
    })
}

/// Returns the URL of the proxy for a request, `direct`, or the error.
fn route(variables: &[&str], url: &str) -> String {
    let url = Url::parse(url).unwrap();
    match proxies(variables).of(&url) {
        Ok(Some(proxy)) => proxy.url().as_str().trim_end_matches('/').to_owned(),
        Ok(None) => "direct".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_proxy_is_the_one_that_go_selects() {
    let proxy = "HTTP_PROXY=proxy";
    for (variables, url, expected) in [
        (&[][..], "http://example.com", "direct"),
        (
            &["HTTP_PROXY=127.0.0.1:8080"],
            "http://example.com",
            "http://127.0.0.1:8080",
        ),
        (
            &["HTTP_PROXY=cache.corp.example.com:1234"],
            "http://example.com",
            "http://cache.corp.example.com:1234",
        ),
        (
            &["HTTP_PROXY=cache.corp.example.com"],
            "http://example.com",
            "http://cache.corp.example.com",
        ),
        (
            &["HTTP_PROXY=localhost"],
            "http://example.com",
            "http://localhost",
        ),
        (
            &["HTTP_PROXY=localhost:3128"],
            "http://example.com",
            "http://localhost:3128",
        ),
        (
            &["HTTP_PROXY=https://cache.corp.example.com"],
            "http://example.com",
            "https://cache.corp.example.com",
        ),
        (
            &["HTTP_PROXY=http://127.0.0.1:8080"],
            "http://example.com",
            "http://127.0.0.1:8080",
        ),
        (
            &["HTTP_PROXY=https://127.0.0.1:8080"],
            "http://example.com",
            "https://127.0.0.1:8080",
        ),
        (
            &["HTTP_PROXY=socks5://127.0.0.1"],
            "http://example.com",
            "socks5://127.0.0.1",
        ),
        (
            &["HTTP_PROXY=HTTP://proxy:3128/"],
            "http://example.com",
            "http://proxy:3128",
        ),
        (
            &["HTTP_PROXY=http.tld", "HTTPS_PROXY=secure.tld"],
            "http://insecure.tld/",
            "http://http.tld",
        ),
        (
            &["HTTP_PROXY=http.tld", "HTTPS_PROXY=secure.tld"],
            "https://secure.tld/",
            "http://secure.tld",
        ),
        (
            &["HTTP_PROXY=http.tld", "HTTPS_PROXY=https://secure.tld"],
            "https://secure.tld/",
            "https://secure.tld",
        ),
        (&["HTTP_PROXY=http.tld"], "https://secure.tld/", "direct"),
        (
            &["HTTPS_PROXY=secure.tld"],
            "http://insecure.tld/",
            "direct",
        ),
        (&["HTTP_PROXY=http.tld"], "ftp://insecure.tld/", "direct"),
        (
            &["ALL_PROXY=proxy", "all_proxy=proxy"],
            "https://example.com",
            "direct",
        ),
        (&["http_proxy=proxy"], "http://example.com", "http://proxy"),
        (
            &["https_proxy=proxy"],
            "https://example.com",
            "http://proxy",
        ),
        (
            &["HTTPS_PROXY=upper", "https_proxy=lower"],
            "https://example.com",
            "http://upper",
        ),
        (
            &["HTTPS_PROXY=", "https_proxy=lower"],
            "https://example.com",
            "http://lower",
        ),
        (
            &["HTTPS_PROXY=upper", "https_proxy="],
            "https://example.com",
            "http://upper",
        ),
        (
            &["HTTPS_PROXY=", "https_proxy="],
            "https://example.com",
            "direct",
        ),
        (
            &["HTTPS_PROXY=p", "NO_PROXY=", "no_proxy=example.com"],
            "https://example.com",
            "direct",
        ),
        (
            &["HTTPS_PROXY=p", "NO_PROXY=a.tld", "no_proxy=example.com"],
            "https://example.com",
            "http://p",
        ),
        (
            &["HTTPS_PROXY=secure.tld", "REQUEST_METHOD=GET"],
            "https://secure.tld/",
            "http://secure.tld",
        ),
        (
            &["HTTP_PROXY=proxy", "REQUEST_METHOD="],
            "http://example.com",
            "http://proxy",
        ),
        (
            &["HTTP_PROXY=http://10.1.2.3:8080", "REQUEST_METHOD=PUT"],
            "http://example.com",
            "the variable HTTP_PROXY is not used when REQUEST_METHOD is set: the client of a CGI program can set it",
        ),
        (
            &[proxy, "NO_PROXY=example.com"],
            "http://example.com/",
            "direct",
        ),
        (
            &[proxy, "NO_PROXY=.example.com"],
            "http://example.com/",
            "http://proxy",
        ),
        (
            &[proxy, "NO_PROXY=ample.com"],
            "http://example.com/",
            "http://proxy",
        ),
        (
            &[proxy, "NO_PROXY=example.com"],
            "http://foo.example.com/",
            "direct",
        ),
        (
            &[proxy, "NO_PROXY=.foo.com"],
            "http://example.com/",
            "http://proxy",
        ),
        (
            &[proxy, "NO_PROXY=.示例.com"],
            "http://www.示例.com",
            "direct",
        ),
        (
            &[proxy, "NO_PROXY=xn--fsq092h.com"],
            "http://www.示例.com",
            "direct",
        ),
        (
            &[proxy, "NO_PROXY=示例.com"],
            "http://www.xn--fsq092h.com",
            "direct",
        ),
    ] {
        assert_eq!(route(variables, url), expected, "{variables:?} {url}");
    }
}

#[test]
fn exceptions_are_those_of_go() {
    let list = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, \
                10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64";
    for (exceptions, host, takes_proxy) in [
        (list, "localhost", false),
        (list, "127.0.0.1", false),
        (list, "127.0.0.2", false),
        (list, "[::1]", false),
        (list, "[::ffff:127.0.0.1]", false),
        (list, "[::2]", true),
        (list, "192.168.1.1", false),
        (list, "192.168.1.2", true),
        (list, "192.168.1.3", false),
        (list, "192.168.1.4", true),
        (list, "10.0.0.2", false),
        (list, "10.0.0.4", true),
        (list, "[2001:db8::52:0:1]", false),
        (list, "[2001:db8::52:0:2]", true),
        (list, "[2001:db8::52:0:3]", false),
        (list, "[2002:db8:a::123]", false),
        (list, "[fe80::424b:c8be:1643:a1b6]", true),
        (list, "barbaz.net", true),
        (list, "www.barbaz.net", false),
        (list, "foobar.com", false),
        (list, "FooBar.com", false),
        (list, "www.foobar.com", false),
        (list, "foofoobar.com", true),
        (list, "baz.com", true),
        (list, "localhost.net", true),
        (list, "local.localhost", true),
        (list, "barbarbaz.net", true),
        (list, "wildcard.io", true),
        (list, "nested.wildcard.io", false),
        (list, "awildcard.io", true),
        ("*", "example.com", false),
        ("a.tld,*,b.tld", "[fe80::1]", false),
        ("*example.com", "www.example.com", true),
        ("**", "example.com", true),
        (":1", "example.com", true),
        ("", "example.com", true),
        (",, ,", "example.com", true),
        (".", "example.com", true),
        ("EXAMPLE.com", "example.com", false),
        (" example.com ", "example.com", false),
        // Entries are separated by commas alone.
        ("example.com example.org", "example.org", true),
        ("example.com:80", "example.com", false),
        ("example.com:81", "example.com", true),
        ("example.com:", "example.com", false),
        (".example.com:80", "www.example.com", false),
        ("*.example.com:443", "www.example.com", true),
        ("example.com:80", "www.example.com:8080", true),
        ("example.com:8080", "www.example.com:8080", false),
        ("192.168.1.3:8080", "192.168.1.3:8080", false),
        ("[fd00::1]:8080", "[fd00::1]:8080", false),
        // Brackets without a port are not an address.
        ("[fd00::1]", "[fd00::1]", true),
        ("fd00::1", "[fd00::1]", false),
        ("fd00::/8", "[fd12::1]", false),
        ("10.0.0.0/8", "[fd12::1]", true),
        ("0.0.0.0/0", "10.1.0.1", false),
        ("10.0.0.0/33", "10.0.0.1", true),
        ("10.0.0.0/x", "10.0.0.0", true),
        ("10.0.0.1", "[::ffff:10.0.0.1]", false),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]", false),
        ("10.0.0", "10.0.0.1", true),
        ("10.0.0.1", "mke.example.com", true),
        ("http://example.com", "example.com", true),
    ] {
        let variables = [
            "HTTP_PROXY=http://proxy:3128",
            &format!("NO_PROXY={exceptions}"),
        ];
        let expected = if takes_proxy {
            "http://proxy:3128"
        } else {
            "direct"
        };
        assert_eq!(
            route(&variables, &format!("http://{host}/")),
            expected,
            "{exceptions} {host}"
        );
    }
}

#[test]
fn a_proxy_that_cannot_be_parsed_is_an_error_and_never_a_direct_connection() {
    for (value, expected) in [
        (r"http://CORP\user:hunter2@proxy:3128", "%5C"),
        ("http://user:hunter2#x@proxy:3128", "%23"),
        ("http://user:1#hunter2@proxy:3128", "%23"),
        ("http://user:80/hunter2@proxy:3128", "%2F"),
        ("http://user:80?hunter2@proxy:3128", "%3F"),
        ("user:hunter2#@proxy", "%23"),
        ("http://proxy:3128 ", "space"),
        (" ", "space"),
        ("http://proxy:3128\r", "control character"),
        ("http://user:hunter 2@proxy", "space"),
        ("ftp://user:hunter2@proxy", "scheme"),
        ("http://", "is not a URL"),
        ("http://:3128", "is not a URL"),
        ("http://proxy:hunter2", "is not a URL"),
        ("http://proxy:0", "is not a URL"),
        ("http://proxy:65536", "is not a URL"),
        ("http://[::1", "is not a URL"),
    ] {
        let found = route(&[&format!("HTTPS_PROXY={value}")], "https://example.com/");
        assert!(
            found.starts_with("the variable HTTPS_PROXY "),
            "{value}: {found}"
        );
        assert!(found.contains(expected), "{value}: {found}");
        assert!(!found.contains("hunter"), "{found}");
        let excepted = [&*format!("https_proxy={value}"), "NO_PROXY=example.com"];
        assert_eq!(route(&excepted, "https://example.com/"), "direct");
        let error = route(&[&format!("https_proxy={value}")], "https://example.com/");
        assert!(error.starts_with("the variable https_proxy "), "{error}");
    }
}

#[test]
fn user_and_password_are_used_and_never_shown() {
    let found = proxies(&["HTTPS_PROXY=http://CORP%5Cuser:p@ss%23word@proxy.example.com"]);
    let url = Url::parse("https://registry.example.com/v2/").unwrap();
    let proxy = found.of(&url).unwrap().unwrap();
    assert_eq!(proxy.url().username(), "CORP%5Cuser");
    assert_eq!(proxy.url().password(), Some("p%40ss%23word"));
    assert_eq!(
        proxy.to_string(),
        "http://proxy.example.com:80 (HTTPS_PROXY)"
    );
    assert!(!format!("{found:?}").contains("word"), "{found:?}");
}
