//! Tests the connection: name, port, API, clock and login.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, LOCATION};
use tokio::time::timeout;
use url::Host;

use super::finding::{Aspect, Fault, Findings};
use super::{Probe, certificate, product};
use crate::transport::RawResponse;
use crate::{Error, Profile, Registry, RequestInfo, Scheme, classify};

/// Timeout of the system's resolver.
const RESOLVER: Duration = Duration::from_secs(5);

/// Difference of clocks in seconds that is a warning.
const CLOCKS_DIFFER: u64 = 60;

/// Difference of clocks in seconds that makes tokens and certificates fail.
const CLOCKS_FAIL: u64 = 300;

/// Tests everything up to the login, and returns whether the probe can be pushed.
pub(super) async fn reach(
    probe: &Probe<'_>,
    registry: &Registry,
    findings: &mut Findings,
    profile: &mut Profile,
) -> bool {
    if !resolves(probe, findings).await {
        return false;
    }
    let response = registry.transport().get_raw("/v2/").await;
    let now = (probe.now)();
    let trusted = match probe.endpoint.scheme() {
        Scheme::Https => certificate::look(probe.endpoint, now, findings).await,
        Scheme::HttpOnLoopback => {
            let text = "plain HTTP on loopback; other nodes need HTTPS";
            findings.skip(Aspect::Certificate, text);
            true
        }
    };
    let response = match response {
        Ok(response) => response,
        // The certificate is the reason.
        Err(_) if !trusted => {
            findings.fine(Aspect::Connection, "the port accepts connections");
            return false;
        }
        Err(error) => {
            findings.failed(Aspect::Connection, &error);
            return false;
        }
    };
    findings.fine(Aspect::Connection, "the port accepts connections");
    clock(&response.headers, now, findings);
    if !is_registry(probe, &response, findings) {
        return false;
    }
    let product = product::guess(probe.endpoint.address(), &response.headers);
    findings.fine(Aspect::Product, product.text());
    profile.product = product.name().map(str::to_owned);
    trusted && login(registry, findings).await
}

/// Resolves the host name with the system's resolver. Returns whether a connection is possible.
async fn resolves(probe: &Probe<'_>, findings: &mut Findings) -> bool {
    let url = probe.endpoint.url("/v2/");
    let Some(Host::Domain(name)) = url.host() else {
        let text = "the registry is an IP address; nothing to resolve";
        findings.fine(Aspect::Name, text);
        return true;
    };
    let port = url.port_or_known_default().unwrap_or(443);
    // The proxy resolves the name for this machine, but nodes must resolve it too.
    let by_proxy = matches!(probe.endpoint.proxies().of(&url), Ok(Some(_)));
    let mut unresolved = |text| match by_proxy {
        true => findings.warn(Aspect::Name, Fault::NameNotResolved, text),
        false => findings.wrong(Aspect::Name, Fault::NameNotResolved, text),
    };
    let found = match timeout(RESOLVER, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            unresolved(format!("{name} cannot be resolved: {error}"));
            return by_proxy;
        }
        Err(_) => {
            unresolved(format!("{name}: no answer within {} s", RESOLVER.as_secs()));
            return by_proxy;
        }
    };
    let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = format!("{name} is {}", shown.join(", "));
    if !probe.endpoint.is_loopback() && addresses.iter().any(|address| address.is_loopback()) {
        findings.warn(Aspect::Name, Fault::NameOfLoopback, text);
    } else {
        findings.fine(Aspect::Name, text);
    }
    true
}

/// Compares the `Date` of a response with the Unix time `now`.
fn clock(headers: &HeaderMap, now: i64, findings: &mut Findings) {
    let date = headers
        .get(DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| httpdate::parse_http_date(value).ok())
        .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
        .and_then(|date| i64::try_from(date.as_secs()).ok());
    let Some(date) = date else {
        findings.skip(Aspect::Clock, "its answers do not say the time");
        return;
    };
    let apart = now.abs_diff(date);
    let side = if date > now { "ahead of" } else { "behind" };
    let text = format!("the registry's clock is {apart} s {side} this machine's");
    match apart {
        ..CLOCKS_DIFFER => findings.fine(Aspect::Clock, "agrees with this machine's"),
        CLOCKS_DIFFER..CLOCKS_FAIL => findings.warn(Aspect::Clock, Fault::ClockOff, text),
        _ => findings.wrong(Aspect::Clock, Fault::ClockOff, text),
    }
}

/// Returns whether the response is from a registry's API.
fn is_registry(probe: &Probe<'_>, response: &RawResponse, findings: &mut Findings) -> bool {
    let status = response.status;
    if classify::is_html(&response.headers) {
        let text = format!("an HTML page answers, with {status}");
        findings.wrong(Aspect::Api, Fault::LoginPage, text);
        return false;
    }
    if status.is_redirection() {
        let asked = probe.endpoint.url("/v2/");
        let location = response.headers.get(LOCATION);
        let target = location
            .and_then(|value| value.to_str().ok())
            .and_then(|value| asked.join(value).ok())
            .map_or_else(
                || "nowhere".to_owned(),
                |url| format!("to {}", RequestInfo::new("", &url, "").url),
            );
        let text = format!("its callers are sent {target}, with {status}");
        findings.wrong(Aspect::Api, Fault::Redirected, text);
        return false;
    }
    if status == StatusCode::OK || status == StatusCode::UNAUTHORIZED {
        findings.fine(Aspect::Api, "it speaks the registry API");
        return true;
    }
    let place = RequestInfo::new("GET", &probe.endpoint.url("/v2/"), "");
    let error = classify::status(status, &response.headers, &response.body, place, 0).error;
    let fault = match &error {
        Error::NotFound { .. } | Error::Rejected { .. } => Fault::NotARegistry,
        error => Fault::of(error),
    };
    findings.wrong(Aspect::Api, fault, requests::chain(&error));
    false
}

/// Tests the credentials, if the registry sends a challenge. A registry with anonymous reads does
/// not check them here; only a write shows whether they are accepted.
async fn login(registry: &Registry, findings: &mut Findings) -> bool {
    match registry.ping().await {
        Ok(()) => true,
        Err(error @ (Error::Unauthorized { .. } | Error::Forbidden { .. })) => {
            findings.wrong(
                Aspect::Login,
                Fault::of_login(&error),
                requests::chain(&error),
            );
            false
        }
        Err(error) => {
            match error.place().is_some_and(|place| place.is_for_token) {
                true => findings.wrong(Aspect::Login, Fault::TokenService, requests::chain(&error)),
                false => findings.failed(Aspect::Login, &error),
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Verdict;

    #[test]
    fn clocks_may_differ_by_a_minute_and_not_by_an_hour() {
        let date = "Sun, 22 Nov 2026 10:00:00 GMT";
        let at = |time: &str| {
            let time = httpdate::parse_http_date(time).unwrap();
            i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
        };
        for (now, verdict, text) in [
            ("Sun, 22 Nov 2026 10:00:59 GMT", Verdict::Ok, "agrees"),
            (
                "Sun, 22 Nov 2026 10:02:00 GMT",
                Verdict::Warning,
                "120 s behind",
            ),
            (
                "Sun, 22 Nov 2026 09:00:00 GMT",
                Verdict::Problem,
                "3600 s ahead of",
            ),
            (
                "Sun, 22 Nov 2026 11:00:00 GMT",
                Verdict::Problem,
                "3600 s behind",
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            let mut findings = Findings::default();
            clock(&headers, at(now), &mut findings);
            let found = findings.complete();
            let clock = found.iter().find(|found| found.aspect == Aspect::Clock);
            let clock = clock.unwrap();
            assert_eq!(clock.verdict, verdict, "{now}");
            assert!(clock.text.contains(text), "{}", clock.text);
        }
    }
}
