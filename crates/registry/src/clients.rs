//! The HTTP clients of a run, shared by all registry clients. A command that contacts hundreds of
//! registries uses one connection pool and TLS configuration per [`Key`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use network::Proxies;
use reqwest::{Client, redirect};
use rustls::pki_types::CertificateDer;

use crate::recorded::lock;
use crate::{Endpoint, Error, Settings};

/// HTTP clients by the settings that distinguish them.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Vec<(Key, Client)>>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    authorities: Vec<CertificateDer<'static>>,
    proxies: Arc<Proxies>,
    connect_timeout: Duration,
    purpose: Purpose,
}

/// What the connections of a client are used for.
///
/// A connection that shares a full line with large uploads may stay slow for long. So large uploads
/// have connections of their own, whose congestion control adapts to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Everything else.
    Requests,
    /// Large uploads.
    Uploads,
}

/// Maximum number of idle connections per host. There may be as many requests, and a new connection
/// costs several round trips.
const IDLE: usize = 64;

impl Clients {
    /// Returns the client for a registry, which is built at the first call.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if it cannot be built on this machine.
    pub(crate) fn of(
        &self,
        endpoint: &Endpoint,
        settings: &Settings,
        purpose: Purpose,
    ) -> Result<Client, Error> {
        let key = Key {
            purpose,
            authorities: endpoint.certificates().to_vec(),
            proxies: Arc::clone(endpoint.proxies()),
            connect_timeout: settings.connect_timeout,
        };
        let mut clients = lock(&self.0);
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok(client.clone());
        }
        let client = network::client(key.authorities.clone(), &key.proxies)
            .connect_timeout(key.connect_timeout)
            // The transport follows redirects, because it knows which requests can be repeated and
            // which hosts may receive credentials.
            .redirect(redirect::Policy::none())
            // No read timeout: reqwest counts the time of sending a body against it, so it would
            // abort every long upload.
            .pool_max_idle_per_host(IDLE)
            .build()
            .map_err(|error| Error::Client {
                address: endpoint.address().to_owned(),
                source: error.into(),
            })?;
        clients.push((key, client.clone()));
        Ok(client)
    }
}
