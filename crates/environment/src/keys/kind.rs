//! What a value can be, and what is wrong with one that is something else.
//!
//! `mkectl` reads YAML 1.1 and hands the values on as JSON. A plain `1.10` is therefore a number
//! wherever it is. A text that would arrive as something else is refused here; a word that readers
//! disagree on is warned of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;

use super::{Key, Rule};
use crate::grammar;
use crate::nearest::nearest;
use crate::problem::quote;
use crate::span::span;
use crate::yaml::{Node, Scalar, Style};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A TCP or UDP port.
    Port,
    /// Two ports with a hyphen between them.
    PortRange,
    /// Any string.
    Text,
    /// A list of strings.
    Texts,
    /// A duration as Go writes it, such as `1m30s`.
    Duration,
    /// An amount as Kubernetes writes it, such as `500Mi`.
    Quantity,
    /// A number of bytes with its unit, such as `8GB`.
    Size,
    /// A range of addresses, or two with a comma between them.
    Cidr,
    /// An IP address or a host name.
    Address,
    /// An address with an optional port.
    Host,
    /// An address with a scheme.
    Url,
    /// A certificate or key in PEM.
    Pem,
    /// A mapping with any keys.
    Map,
    /// A list of anything.
    List,
    /// An address with the length of its network's prefix, such as `172.16.0.100/16`.
    Interface,
    /// A path that ends in `/k0s`.
    K0sFolder,
    /// Anything.
    Any,
    /// The path of a file or folder, relative to the file that names it.
    Path,
    /// A release, such as `v4.1.5`.
    Release,
    /// The address of a registry, with an optional port.
    RegistryAddress,
    /// A path in a registry.
    Project,
    /// A version of MKE 3.
    Mke3Version,
    /// The name of an environment.
    EnvironmentName,
    /// The name of environment variables.
    Variable,
    /// A duration with one unit, such as `90m`.
    Span,
    /// One of a few words.
    Word,
    /// A list of strings, whatever type YAML gives them.
    Words,
}

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the value is, to follow `is`.
    pub is: String,
    /// What to do about it.
    pub help: String,
    /// Whether some readers take it for what was meant.
    pub is_warning: bool,
}

/// Returns what is wrong with a value, if something is. A null is valid everywhere: it means no
/// value.
pub fn fault(rule: &Rule, node: &Node) -> Option<Fault> {
    if node.is_null() {
        return None;
    }
    if crate::reference(node).is_some() {
        let becomes_right = !matches!(
            rule.kind,
            Kind::Boolean | Kind::Integer | Kind::Port | Kind::Map | Kind::List | Kind::Texts
        );
        return (!becomes_right).then(|| {
            Fault::new(
                "a reference, which becomes a string; a different type is expected here",
                "write the value itself: it is not a secret",
            )
        });
    }
    match rule.kind {
        Kind::Any => None,
        Kind::Map => (node.as_mapping().is_none()).then(|| {
            let is = format!("{}, not a mapping", node.kind());
            Fault::new(is, "write keys below it")
        }),
        Kind::List | Kind::Texts => match node.as_sequence() {
            None => Some(Fault::new(
                format!("{}, not a list", node.kind()),
                "write each item on its own line after `- `",
            )),
            Some(items) if rule.kind == Kind::Texts => items
                .iter()
                .filter(|item| crate::reference(item).is_none())
                .find_map(|item| scalar(item, text_fault)),
            Some(_) => None,
        },
        Kind::Boolean => scalar(node, boolean),
        Kind::Integer => scalar(node, |value| integer(value, (rule.min, rule.max))),
        Kind::Port => scalar(node, |value| match reading(value) {
            Reading::Integer(1..=65535) => None,
            Reading::Text if value.text.parse::<u16>().is_ok_and(|port| port > 0) => {
                Some(Fault::new(
                    format!("the text {}, not a number", quote(&value.text)),
                    "write it without quotes",
                ))
            }
            _ => Some(Fault::new(
                format!("{}, not a port", quote(&value.text)),
                "a port is a number from 1 to 65535",
            )),
        }),
        _ => scalar(node, |value| {
            text_or_quantity(rule.kind, value).or_else(|| one_of(rule, &value.text))
        }),
    }
}

impl Kind {
    /// Returns what a value of this type is, for messages and the reference page.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Kind::Boolean => "a boolean",
            Kind::Integer => "an integer",
            Kind::Port => "a port",
            Kind::PortRange => "a port range",
            Kind::Text => "a string",
            Kind::Texts | Kind::Words => "a list of strings",
            Kind::Duration => "a duration",
            Kind::Quantity => "a Kubernetes quantity",
            Kind::Size => "a size",
            Kind::Cidr => "a CIDR block",
            Kind::Address => "a host name or IP address",
            Kind::Host => "a host name or IP address with an optional port",
            Kind::Url => "a URL",
            Kind::Pem => "a PEM text",
            Kind::Map => "a mapping",
            Kind::List => "a list",
            Kind::Interface => "an IP address with a prefix length",
            Kind::K0sFolder | Kind::Path => "a path",
            Kind::Any => "anything",
            Kind::Release => "a release",
            Kind::RegistryAddress => "a registry address",
            Kind::Project => "a repository path",
            Kind::Mke3Version => "an MKE 3 version",
            Kind::EnvironmentName => "an environment name",
            Kind::Variable => "an environment variable name",
            Kind::Span => "a duration",
            Kind::Word => "a word",
        }
    }

    /// Returns a value of this type, if its syntax is not obvious.
    pub(crate) fn example(self) -> Option<&'static str> {
        match self {
            Kind::PortRange => Some("32768-35535"),
            Kind::Duration => Some("1m30s"),
            Kind::Quantity => Some("500Mi"),
            Kind::Size => Some("8GB"),
            Kind::Cidr => Some("10.96.0.0/16"),
            Kind::Host => Some("mke.example.com:6443"),
            Kind::Url => Some("https://idp.example.com"),
            Kind::Interface => Some("172.16.0.100/16"),
            Kind::K0sFolder => Some("/data/k0s"),
            Kind::Release => Some("v4.1.5"),
            Kind::RegistryAddress => Some("registry.example.com:5000"),
            Kind::Project => Some("platform/mke"),
            Kind::Mke3Version => Some("3.8.2"),
            Kind::Variable => Some("PROD_REGISTRY"),
            Kind::Span => Some("90m"),
            Kind::Boolean
            | Kind::Texts
            | Kind::Words
            | Kind::Integer
            | Kind::Port
            | Kind::Text
            | Kind::Address
            | Kind::Pem
            | Kind::Map
            | Kind::List
            | Kind::Any
            | Kind::Path
            | Kind::EnvironmentName
            | Kind::Word => None,
        }
    }
}

/// Returns what is wrong with a value of `environment.yaml`, which has no references and is read by
/// this crate alone.
pub(crate) fn own_fault(key: &Key, path: &str, node: &Node) -> Option<grammar::Fault> {
    let rule = key.rule.as_ref()?;
    let is = |is: String| grammar::Fault {
        rule: format!("`{path}` is {is}"),
        help: rule.help.clone(),
    };
    let not = |what: &str| is(format!("{}, not {what}", node.kind()));
    let text = node.text().filter(|_| !node.is_null());
    match (rule.kind, text) {
        (Kind::Map, _) => node.as_mapping().is_none().then(|| {
            let first = key.names().next();
            let help = first.map(|name| format!("write `{name}` and its other keys below it"));
            let help = rule.help.clone().or(help);
            grammar::Fault {
                help,
                ..not(rule.kind.what())
            }
        }),
        (Kind::Words, _) => {
            let Some(items) = node.as_sequence() else {
                return Some(not("a list"));
            };
            let wrong = items.iter().find(|item| item.as_scalar().is_none());
            let is_short = rule.min.is_some() && items.is_empty();
            match wrong {
                Some(item) => Some(is(format!("a list with {} in it", item.kind()))),
                None => is_short.then(|| is("empty".to_owned())),
            }
        }
        (Kind::Word, Some(text)) if rule.values.iter().any(|value| value == text) => None,
        (Kind::Word, Some(text)) if !rule.is_secret => {
            let mut fault = is(format!("{}, not {}", quote(text), words(&rule.values)));
            if let Some(nearest) = nearest(text, rule.values.iter().map(String::as_str)) {
                fault.help = Some(format!("did you mean `{nearest}`?"));
            }
            Some(fault)
        }
        (Kind::Word, _) if !key.fields.is_empty() => Some(not("a mapping")),
        (Kind::Word, _) => Some(not(&words(&rule.values))),
        (Kind::Path, Some("")) => {
            let help = "write a path, or remove the key".to_owned();
            let help = rule.help.clone().or(Some(help));
            Some(grammar::Fault {
                help,
                ..is("empty".to_owned())
            })
        }
        (Kind::Release, Some(text)) => grammar::release(text).err(),
        (Kind::RegistryAddress, Some(text)) => grammar::address(text).err(),
        (Kind::Project, Some(text)) => grammar::project(text).err(),
        (Kind::Mke3Version, Some(text)) => grammar::mke3_version(text).err(),
        (Kind::EnvironmentName, Some(text)) => {
            let rule = format!("{} is not {}", quote(text), rule.kind.what());
            let fault = grammar::Fault { rule, ..not("") };
            grammar::environment_name(text).is_err().then_some(fault)
        }
        (Kind::Variable, _) => {
            (!text.is_some_and(grammar::is_variable_name)).then(|| grammar::Fault {
                // Whatever this is, it may be a secret, and is not repeated.
                rule: format!("this is not {}", rule.kind.what()),
                help: (rule.help.as_ref())
                    .map(|help| format!("{help}, in capital letters, digits and underscores")),
            })
        }
        (Kind::Span, Some(text)) => span(text).is_none().then(|| grammar::Fault {
            rule: format!("`{path}` is not a duration"),
            help: Some(
                "write a number from 1 and a unit (`s`, `m`, `h` or `d`), such as `90m`".to_owned(),
            ),
        }),
        (Kind::Boolean, Some(_)) => fault(rule, node).map(|fault| grammar::Fault {
            help: Some(fault.help),
            ..is(fault.is)
        }),
        (Kind::Boolean, None) => Some(grammar::Fault {
            help: Some("write `true` or `false`".to_owned()),
            ..not(rule.kind.what())
        }),
        (_, Some(_)) => None,
        (kind, None) => Some(not(kind.what())),
    }
}

/// Returns values as they are shown: `` `a` or `b` ``.
fn words(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    values.join(" or ")
}

/// Reads a range of ports.
pub fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

/// Reads ranges of addresses with commas between them.
pub fn networks(text: &str) -> Option<Vec<IpNet>> {
    text.split(',')
        .map(|network| network.trim().parse().ok())
        .collect()
}

impl Fault {
    fn new(is: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault {
            is: is.into(),
            help: help.into(),
            is_warning: false,
        }
    }
}

/// What readers make of a scalar.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Text,
    Boolean,
    /// A boolean in YAML 1.1 and a string in YAML 1.2.
    OldBoolean(bool),
    Integer(i64),
    /// A number that is written otherwise than in decimal digits.
    Number,
}

fn reading(scalar: &Scalar) -> Reading {
    let is_plain = match scalar.tag.as_deref() {
        None => scalar.style == Style::Plain,
        Some(tag) => tag == "tag:yaml.org,2002:bool",
    };
    if !is_plain {
        return Reading::Text;
    }
    let text = scalar.text.as_str();
    match text.to_ascii_lowercase().as_str() {
        "true" | "false" => return Reading::Boolean,
        "yes" | "on" | "y" => return Reading::OldBoolean(true),
        "no" | "off" | "n" => return Reading::OldBoolean(false),
        _ => {}
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_decimal = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal
        && (unsigned == "0" || !unsigned.starts_with('0'))
        && let Ok(number) = text.parse()
    {
        return Reading::Integer(number);
    }
    let unparted = unsigned.replace('_', "");
    let is_number = unparted.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (unparted.parse::<f64>().is_ok()
            || ["0x", "0o", "0b"].iter().any(|prefix| {
                unparted.strip_prefix(prefix).is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
                })
            })
            || is_of_sixties(&unparted));
    if is_number {
        Reading::Number
    } else {
        Reading::Text
    }
}

/// Returns whether YAML 1.1 takes a text for a number to the base of sixty, as in `12:30`.
fn is_of_sixties(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.contains(':') && text.split(':').all(is_digits)
}

fn scalar(node: &Node, check: impl Fn(&Scalar) -> Option<Fault>) -> Option<Fault> {
    match node.as_scalar() {
        Some(scalar) => check(scalar),
        None => Some(Fault::new(
            format!("{}, not a single value", node.kind()),
            "write the value after the key",
        )),
    }
}

fn boolean(value: &Scalar) -> Option<Fault> {
    let quoted = quote(&value.text);
    match reading(value) {
        Reading::Boolean => None,
        Reading::OldBoolean(meant) => Some(Fault {
            is_warning: true,
            ..Fault::new(
                format!(
                    "{quoted}, which some YAML readers take for a boolean and others for a string"
                ),
                format!("write `{meant}`"),
            )
        }),
        Reading::Text if matches!(value.text.as_str(), "true" | "false") => Some(Fault::new(
            "a string, not a boolean",
            format!("write {quoted} without quotes"),
        )),
        _ => Some(Fault::new(
            format!("{quoted}, not a boolean"),
            "write `true` or `false`",
        )),
    }
}

fn integer(value: &Scalar, (least, most): (Option<i64>, Option<i64>)) -> Option<Fault> {
    let quoted = quote(&value.text);
    let range = match (least, most) {
        (Some(least), Some(most)) => format!("an integer from {least} to {most}"),
        (Some(least), None) => format!("an integer of {least} or more"),
        (None, Some(most)) => format!("an integer of {most} or less"),
        (None, None) => "an integer".to_owned(),
    };
    match reading(value) {
        Reading::Integer(number)
            if least.is_none_or(|least| least <= number)
                && most.is_none_or(|most| number <= most) =>
        {
            None
        }
        Reading::Integer(_) => Some(Fault::new(
            format!("{quoted}, which is out of range"),
            format!("write {range}"),
        )),
        Reading::Number => Some(Fault::new(
            format!("{quoted}, which YAML readers take for different numbers"),
            format!("write {range}, in decimal digits"),
        )),
        _ => Some(Fault::new(
            format!("{quoted}, not a number"),
            format!("write {range}, without quotes"),
        )),
    }
}

fn text_fault(value: &Scalar) -> Option<Fault> {
    let what = match reading(value) {
        Reading::Text => return None,
        Reading::Boolean | Reading::OldBoolean(_) => "a boolean",
        Reading::Integer(_) | Reading::Number => "a number",
    };
    Some(Fault::new(
        format!(
            "{}, which YAML reads as {what}, not as a string",
            quote(&value.text)
        ),
        format!("write it in quotes: `\"{}\"`", value.text),
    ))
}

fn text_or_quantity(kind: Kind, value: &Scalar) -> Option<Fault> {
    let is_amount = matches!(kind, Kind::Quantity | Kind::Size);
    // Kubernetes takes a bare number for an amount.
    if !(is_amount && matches!(reading(value), Reading::Integer(_) | Reading::Number)) {
        let fault = text_fault(value);
        if fault.is_some() {
            return fault;
        }
    }
    let text = value.text.as_str();
    let fault = |is: &str, help: &str| Some(Fault::new(format!("{}, {is}", quote(text)), help));
    match kind {
        Kind::PortRange if port_range(text).is_none() => fault(
            "not a port range",
            "write the first and the last, such as `32768-35535`",
        ),
        Kind::Duration if !is_duration(text) => fault(
            "not a duration",
            "write numbers with units, such as `1m30s`",
        ),
        Kind::Quantity if !has_unit(text, QUANTITY_UNITS) => fault(
            "not a Kubernetes quantity",
            "write a number with a unit, such as `250m` or `500Mi`",
        ),
        Kind::Size if !has_unit(text, SIZE_UNITS) => {
            fault("not a size", "write it with its unit, such as `8GB`")
        }
        Kind::Cidr => match networks(text) {
            None => fault(
                "not a CIDR block",
                "write an address and a prefix length, such as `10.96.0.0/16`",
            ),
            Some(networks) => {
                let network = networks.iter().find(|net| net.trunc() != **net)?;
                Some(Fault::new(
                    format!("{}, whose address has host bits set", quote(text)),
                    format!("write `{}`", network.trunc()),
                ))
            }
        },
        Kind::Interface if text.parse::<IpNet>().is_err() => fault(
            "not an IP address with a prefix length",
            "write both, such as `172.16.0.100/16`",
        ),
        Kind::K0sFolder if !(text.starts_with('/') && text.ends_with("/k0s")) => fault(
            "not an absolute path that ends in `/k0s`",
            "write the absolute path of a folder `k0s`, such as `/data/k0s`",
        ),
        Kind::Address | Kind::Host => host(kind, text),
        Kind::Url if !text.contains("://") => fault(
            "without a scheme",
            "write the full URL, such as `https://idp.example.com`",
        ),
        Kind::Pem if !text.contains("-----BEGIN ") => Some(Fault::new(
            "not in PEM format",
            "it begins with `-----BEGIN`; `{ $file: path }` takes it from a file",
        )),
        _ => None,
    }
}

fn one_of(rule: &Rule, text: &str) -> Option<Fault> {
    if rule.values.is_empty() || rule.values.iter().any(|value| value == text) {
        return None;
    }
    let known: Vec<String> = rule
        .current_values()
        .map(|value| format!("`{value}`"))
        .collect();
    let help = match nearest(text, rule.current_values()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("write one of {}", known.join(", ")),
    };
    Some(Fault::new(
        format!("{}, which is not one of its values", quote(text)),
        help,
    ))
}

/// Checks an address, with a port if the kind has one.
pub(crate) fn host(kind: Kind, text: &str) -> Option<Fault> {
    let fault = |is: &str, help: &str| Some(Fault::new(format!("{}, {is}", quote(text)), help));
    if text.contains("://") {
        return fault("which has a scheme", "remove everything up to `://`");
    }
    let no_host = || {
        fault(
            "not a host name or IP address",
            "write an IP address or a host name",
        )
    };
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || "/@<>".contains(c)) {
        return no_host();
    }
    let host = match text.rsplit_once(':') {
        // All of it is an IPv6 address.
        _ if kind == Kind::Host && text.starts_with('[') && text.ends_with(']') => text,
        Some((host, port)) if kind == Kind::Host && text.parse::<IpAddr>().is_err() => {
            if port.parse::<u16>().is_ok_and(|port| port > 0) {
                host
            } else {
                return fault(
                    "whose port is not valid",
                    "a port is a number from 1 to 65535",
                );
            }
        }
        Some(_) if kind == Kind::Address && text.parse::<IpAddr>().is_err() => {
            return fault("which has a port", "write the address alone");
        }
        _ => text,
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if inner.unwrap_or(host).parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    let ends_in_number = host
        .rsplit('.')
        .next()
        .is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if ends_in_number && host.parse::<Ipv4Addr>().is_err() {
        return fault(
            "which is neither a host name nor an IPv4 address",
            "write a host name, or an IPv4 address such as `10.0.0.5`",
        );
    }
    if !grammar::is_host_name(host) {
        return no_host();
    }
    None
}

const QUANTITY_UNITS: &[&str] = &[
    "", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

const SIZE_UNITS: &[&str] = &[
    "", "B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "K", "M", "G", "T", "Ki", "Mi",
    "Gi", "Ti",
];

fn has_unit(text: &str, units: &[&str]) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_number = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        && number.parse::<f64>().is_ok();
    is_number && units.contains(&&text[number.len()..])
}

/// Returns whether Go reads a text as a duration.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - unit.len()];
        let next = unit.trim_start_matches(|c: char| c.is_alphabetic());
        let name = &unit[..unit.len() - next.len()];
        let is_unit = matches!(name, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h");
        if number.parse::<f64>().is_err() || !is_unit {
            return false;
        }
        parts += 1;
        rest = next;
    }
    parts > 0
}

#[cfg(test)]
mod tests;
