//! How a server is reached: with which settings, and whether over TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use stdx::Chain;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use super::db::Broken;
use crate::error::Error;

/// How long a server may take to let us in.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection that waits is asked for a sign of life after this long without a word, and then this often.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);

/// A server that has not confirmed for this long what was sent to it is gone, and so is the connection.
const UNHEARD_MAX: Duration = Duration::from_secs(10);

/// Where PostgreSQL listens, if nobody says otherwise.
const PORT_DEFAULT: u16 = 5432;

/// A server, and what opens it. Never printed.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Server {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, Error> {
        let mut config = parse(&options.url).map_err(|why| Error::invalid("store.postgres.url", why))?;
        if let Some(password) = &options.password {
            config.password(password.expose());
        }
        config.connect_timeout(CONNECT_WITHIN).tcp_user_timeout(UNHEARD_MAX);
        config.keepalives(true).keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_EVERY);
        if config.get_application_name().is_none() {
            config.application_name("headwater");
        }
        let tls = tls(options.ca.as_deref()).map_err(|why| Error::StoreDown { why })?;
        Ok(Self { config, tls: MakeRustlsConnect::new(tls) })
    }

    pub(super) fn connect(&self) -> Result<Client, Broken> {
        self.config.connect(self.tls.clone()).map_err(|error| {
            let Broken { why } = error.into();
            Broken { why: format!("{}: {why}", self.places()) }
        })
    }

    /// `host:port` of each server that is tried.
    fn places(&self) -> String {
        let ports = self.config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(PORT_DEFAULT);
        let place = |(at, host): (usize, &Host)| match host {
            Host::Tcp(host) => format!("{host}:{}", port(at)),
            Host::Unix(folder) => folder.display().to_string(),
        };
        self.config.get_hosts().iter().enumerate().map(place).collect::<Vec<_>>().join(", ")
    }
}

/// What is wrong with a URL of a document, as a part of a sentence that does not hold the URL.
pub(crate) fn problem(url: &str) -> Option<String> {
    match parse(url) {
        Err(why) => Some(why),
        Ok(config) if config.get_password().is_some() => Some("a password in the URL, and URLs are printed".to_owned()),
        Ok(config) if config.get_hosts().is_empty() => Some("a URL without a host".to_owned()),
        Ok(_) => None,
    }
}

/// Either all is encrypted and the certificate is checked, or nothing is: half of it protects from nobody.
fn parse(url: &str) -> Result<Config, String> {
    let mut config: Config = url.parse().map_err(|error: postgres::Error| format!("no URL: {}", Chain(&error)))?;
    if config.get_ssl_mode() != SslMode::Require {
        config.ssl_mode(SslMode::Disable);
    }
    Ok(config)
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| format!("set TLS up: {error}"))?;
    let Some(path) = ca else {
        let verified = builder.with_platform_verifier();
        let verified = verified.map_err(|error| format!("find the authorities that the system trusts: {error}"))?;
        return Ok(verified.with_no_client_auth());
    };
    let unread = |why: String| format!("read the authorities in {}: {why}", path.display());
    let pem = fs::read(path).map_err(|error| unread(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unread(error.to_string()))?;
        roots.add(certificate).map_err(|error| unread(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unread("it holds no certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
