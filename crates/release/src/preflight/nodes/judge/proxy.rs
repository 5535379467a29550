//! Whether a node's proxy variables send to a proxy what must not go there. mkectl asks the load balancer from the nodes, where a proxy
//! breaks it (LAB, commit c393df2).

use std::net::IpAddr;

use super::super::{Aspect, NodeCheck, NodeFault};
use super::{Line, Wanted};

pub(super) fn judge<'a>(wanted: &Wanted, lines: impl Iterator<Item = &'a Line>) -> NodeCheck {
    let aspect = Aspect::Proxy;
    let mut ended = false;
    let mut proxy = None;
    let mut exceptions: Vec<&str> = Vec::new();
    for line in lines {
        ended |= line.word == "end";
        let Some((variable, value)) = line
            .text
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
        else {
            continue;
        };
        match variable.to_ascii_lowercase().as_str() {
            "no_proxy" => exceptions.extend(value.split([',', ' ']).filter(|one| !one.is_empty())),
            // What is asked of both is HTTPS.
            "https_proxy" | "all_proxy" => proxy = proxy.or(Some(line.text.as_str())),
            _ => {}
        }
    }
    if !ended {
        return super::unanswered(aspect);
    }
    let Some(proxy) = proxy else {
        return NodeCheck::fine(aspect, "no variable names one for HTTPS");
    };
    let caught = |host: &str| !host.is_empty() && !exceptions.iter().any(|one| covers(one, host));
    if caught(&wanted.balancer) {
        let text = format!("{proxy} catches the load balancer {}", wanted.balancer);
        NodeCheck::wrong(aspect, NodeFault::ProxyForBalancer, text)
    } else if caught(&wanted.registry) {
        let text = format!("{proxy} catches the registry {}", wanted.registry);
        NodeCheck::warn(aspect, NodeFault::ProxyForRegistry, text)
    } else {
        NodeCheck::fine(aspect, "registry and load balancer are in no_proxy")
    }
}

/// Says whether an entry of `no_proxy` is about a host, as curl and Go read it: a name and all below it, an address, or a network.
fn covers(entry: &str, host: &str) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    if entry == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let (network, length) = match entry.split_once('/') {
            Some((network, length)) => (network, length.parse::<u32>().ok()),
            None => (entry.as_str(), None),
        };
        let network = network.trim_matches(['[', ']']).parse::<IpAddr>();
        return match (network, length) {
            (Ok(network), None) => network == address && !entry.contains('/'),
            (Ok(network), Some(length)) => shares(network, address, length),
            (Err(_), _) => false,
        };
    }
    // A port makes an entry narrower, and there is one of several.
    let name = entry.trim_start_matches("*.").trim_start_matches('.');
    !name.is_empty()
        && (host == name
            || host
                .strip_suffix(name)
                .is_some_and(|before| before.ends_with('.')))
}

/// Says whether the first `length` bits of two addresses are the same.
fn shares(network: IpAddr, address: IpAddr, length: u32) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((network, size), (address, other)) = (bits(network), bits(address));
    let apart = 128 - length.min(128);
    size == other && length <= size && (network ^ address).checked_shr(apart).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::nodes::NodeVerdict;

    #[test]
    fn exceptions_are_read_as_curl_and_go_read_them() {
        for (entry, host, covered) in [
            ("registry.example.com", "registry.example.com", true),
            ("example.com", "registry.example.com", true),
            (".example.com", "Registry.Example.com", true),
            ("*.example.com", "registry.example.com", true),
            ("ample.com", "registry.example.com", false),
            ("*", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.0/8", "10.200.3.1", true),
            ("10.0.0.0/16", "10.1.0.1", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("0.0.0.0/0", "10.1.0.1", true),
            ("fd00::/8", "[fd12::1]", true),
            ("10.0.0.0/8", "fd12::1", false),
            ("10.0.0.1", "mke.example.com", false),
        ] {
            assert_eq!(covers(entry, host), covered, "{entry} {host}");
        }
    }

    #[test]
    fn a_proxy_for_the_balancer_is_worse_than_one_for_the_registry() {
        let wanted = Wanted {
            registry: "registry.example.com".to_owned(),
            balancer: "mke.example.com".to_owned(),
            ..Wanted::default()
        };
        let judged = |variables: &[&str]| {
            let line = |word: &str, text: &str| Line {
                what: "proxy".to_owned(),
                word: word.to_owned(),
                text: text.to_owned(),
            };
            let mut lines: Vec<Line> = variables
                .iter()
                .map(|text| line("variable", text))
                .collect();
            lines.push(line("end", ""));
            judge(&wanted, lines.iter()).verdict
        };
        let proxy = "HTTPS_PROXY=http://proxy:3128";
        assert_eq!(judged(&[]), NodeVerdict::Ok);
        assert_eq!(judged(&["http_proxy=http://proxy:3128"]), NodeVerdict::Ok);
        assert_eq!(judged(&["https_proxy="]), NodeVerdict::Ok);
        assert_eq!(judged(&[proxy]), NodeVerdict::Problem);
        assert_eq!(
            judged(&[proxy, "no_proxy=localhost,mke.example.com"]),
            NodeVerdict::Warning
        );
        assert_eq!(judged(&[proxy, "NO_PROXY=.example.com"]), NodeVerdict::Ok);
    }
}
