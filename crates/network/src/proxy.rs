//! Which proxy a request takes, by the variables of the environment, as Go's
//! `golang.org/x/net/http/httpproxy` reads them.
//!
//! mkectl, containerd and helm are Go programs, so the same variables have the same effect on all
//! of them: `HTTPS_PROXY` and `HTTP_PROXY` by the scheme of the request, upper case before lower
//! case, an empty variable like a missing one; `ALL_PROXY` is not read. One thing differs on
//! purpose: Go ignores a proxy that it cannot parse and connects directly. Here that is an error.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

/// The proxies that a set of variables names, and the hosts that need none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<Result<Proxy, ProxyError>>,
    http: Option<Result<Proxy, ProxyError>>,
    exceptions: Vec<Exception>,
    /// The variables are those of a CGI program, whose `HTTP_PROXY` a client can set by a header.
    is_cgi: bool,
}

/// A proxy, and the variable that names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    variable: String,
    url: Url,
}

/// A variable that names no usable proxy. The value is not kept, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable {variable} {rule}")]
pub struct ProxyError {
    /// The variable's name, as it was set.
    pub variable: String,
    /// What is wrong with its value.
    pub rule: &'static str,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Network(IpNet),
    /// `10.0.0.1`, `10.0.0.1:5000`, `[fd00::1]:5000`
    Address(IpAddr, Option<String>),
    /// `example.com`, `.example.com`, `*.example.com`, each with an optional port.
    Domain {
        /// The name with a dot before it.
        suffix: String,
        /// The name itself is meant, too, and not only what is below it.
        with_itself: bool,
        port: Option<String>,
    },
}

impl Proxies {
    /// Reads the variables, which `get` returns by name: as text, with U+FFFD for what is not
    /// UTF-8.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        let named = |names: [&str; 2]| {
            names.into_iter().find_map(|name| {
                let value = get(name).filter(|value| !value.is_empty())?;
                Some((name.to_owned(), value))
            })
        };
        let proxy = |names| named(names).map(|(name, value)| Proxy::parse(name, &value));
        let exceptions = named(["NO_PROXY", "no_proxy"]);
        Self {
            https: proxy(["HTTPS_PROXY", "https_proxy"]),
            http: proxy(["HTTP_PROXY", "http_proxy"]),
            exceptions: exceptions.map_or_else(Vec::new, |(_, value)| read_exceptions(&value)),
            is_cgi: get("REQUEST_METHOD").is_some_and(|value| !value.is_empty()),
        }
    }

    /// Returns the proxy that a request to `url` takes, or none if it goes there directly.
    ///
    /// # Errors
    /// The variable for the scheme of `url` names no usable proxy, and `url` is not an exception.
    pub fn of(&self, url: &Url) -> Result<Option<&Proxy>, ProxyError> {
        let setting = match url.scheme() {
            "https" => &self.https,
            "http" => &self.http,
            _ => return Ok(None),
        };
        let Some(setting) = setting else {
            return Ok(None);
        };
        if self.is_exception(url) {
            return Ok(None);
        }
        if url.scheme() == "http" && self.is_cgi {
            return Err(ProxyError {
                variable: "HTTP_PROXY".to_owned(),
                rule: "is not used when REQUEST_METHOD is set: the client of a CGI program can set it",
            });
        }
        setting.as_ref().map(Some).map_err(Clone::clone)
    }

    /// Returns whether requests to `url` never take a proxy: loopback, and what `NO_PROXY` lists.
    fn is_exception(&self, url: &Url) -> bool {
        let port = url.port_or_known_default().map(|port| port.to_string());
        let port = port.unwrap_or_default();
        let (name, address) = match url.host() {
            Some(Host::Domain("localhost")) | None => return true,
            Some(Host::Domain(name)) => (name.to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => {
                let address = IpAddr::V6(address).to_canonical();
                (address.to_string(), Some(address))
            }
        };
        address.is_some_and(|address| address.is_loopback())
            || (self.exceptions.iter()).any(|one| one.covers(&name, address, &port))
    }
}

impl Proxy {
    /// Returns the proxy's URL, with user and password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the name of the variable that names the proxy.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    fn parse(variable: String, value: &str) -> Result<Self, ProxyError> {
        let wrong = |rule| ProxyError {
            variable: variable.clone(),
            rule,
        };
        // What `Url` reads as the end of the host would turn the rest of a password into a path,
        // and its beginning into a host.
        if value.contains('\\') {
            return Err(wrong("contains a backslash: write it as %5C"));
        }
        // What is not UTF-8 was read as this character, which no URL contains.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(wrong("is not UTF-8 text"));
        }
        if value.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(wrong("contains a space or a control character"));
        }
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https" | "socks5" | "socks5h") {
            return Err(wrong("has a scheme other than http, https and socks5"));
        }
        let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
        if rest[authority.len()..].contains('@') {
            return Err(wrong(
                "has a special character in its user or password: write `/` as %2F, `?` as %3F, `#` as %23",
            ));
        }
        let url = Url::parse(&format!("{scheme}://{authority}"))
            .map_err(|_| wrong("is not a URL of a proxy"))?;
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(wrong("is not a URL of a proxy"));
        }
        Ok(Self { variable, url })
    }
}

/// Shows the proxy's address and the variable; user and password are left out.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.url.scheme())?;
        if let Some(port) = self.url.port_or_known_default() {
            write!(f, ":{port}")?;
        }
        write!(f, " ({})", self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

fn read_exceptions(value: &str) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    for entry in value.split(',') {
        let entry = entry.trim().to_lowercase();
        if entry == "*" {
            return vec![Exception::All];
        }
        exceptions.extend(Exception::parse(&entry));
    }
    exceptions
}

impl Exception {
    /// Reads an entry in lower case. An entry without a host means nothing.
    fn parse(entry: &str) -> Option<Self> {
        if let Ok(network) = entry.parse::<IpNet>()
            && entry.contains('/')
        {
            return Some(Self::Network(network));
        }
        let (host, port) = split_port(entry).unwrap_or((entry, None));
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = host
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host);
        let name = host.strip_prefix('.').unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let ascii = match name.is_ascii() {
            true => name.to_owned(),
            false => Host::parse(name).map_or(name.to_owned(), |host| host.to_string()),
        };
        Some(Self::Domain {
            suffix: format!(".{ascii}"),
            with_itself: !host.starts_with('.'),
            port,
        })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let at = |wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(one, wanted) => address == Some(*one) && at(wanted),
            Self::Domain {
                suffix,
                with_itself,
                port: wanted,
            } => {
                (host.ends_with(suffix.as_str()) || (*with_itself && host == &suffix[1..]))
                    && at(wanted)
            }
        }
    }
}

/// Splits `host:port` and `[address]:port`. Returns none for what has no port, and for an address
/// of version 6 without brackets.
fn split_port(entry: &str) -> Option<(&str, Option<String>)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains([':', '[', ']']) => return None,
        None => host,
    };
    Some((host, Some(port.to_owned()).filter(|port| !port.is_empty())))
}

#[cfg(test)]
mod tests;
