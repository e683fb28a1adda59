//! Certificates, users and rights of a broker that asks who one is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::state::{make_folder, write_secret};
use crate::context::Context;
use crate::process::shown;
use crate::setup;

/// Who may do everything, and who may do nothing.
const USERS: [&str; 2] = ["headwater", "stranger"];

/// Salted mechanisms, whose users stand in the cluster's own metadata.
const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Listeners on which names and passwords count.
const LISTENERS: [&str; 2] = ["sasl_ssl", "sasl_plaintext"];

/// What was made for one start of the service.
#[derive(Debug)]
pub(super) struct Secrets {
    /// By what they are, for `service.json`.
    pub(super) files: BTreeMap<String, PathBuf>,
    passwords: Vec<(&'static str, String)>,
    broker: PathBuf,
}

/// Makes everything anew, in a folder `secrets` that only its owner may look into.
pub(super) fn make(context: &Context, folder: &Path) -> Result<Secrets> {
    setup::openssl(context)?;
    let home = folder.join("secrets");
    make_folder(&home)?;
    let mut files = BTreeMap::new();
    authority(&home, "ca")?;
    authority(&home, "other-ca")?;
    signed(&home, "broker", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")?;
    signed(&home, "client", USERS[0], "extendedKeyUsage=clientAuth")?;
    signed(&home, "stranger", USERS[1], "extendedKeyUsage=clientAuth")?;
    for (name, file) in [
        ("ca", "ca.pem"),
        ("otherCa", "other-ca.pem"),
        ("clientCertificate", "client.pem"),
        ("clientKey", "client.key"),
        ("strangerCertificate", "stranger.pem"),
        ("strangerKey", "stranger.key"),
    ] {
        files.insert(name.to_owned(), home.join(file));
    }
    // Kafka reads key and certificate from one file.
    let broker = home.join("broker.both.pem");
    let parts = ["broker.key", "broker.pem"].map(|file| fs::read_to_string(home.join(file)));
    let [key, certificate] = parts;
    write_secret(&broker, &format!("{}{}", key?, certificate?))?;
    let mut passwords = Vec::new();
    for (user, name) in USERS.into_iter().zip(["password", "strangerPassword"]) {
        let (password, path) = (password()?, home.join(format!("{user}.password")));
        write_secret(&path, &password)?;
        files.insert(name.to_owned(), path);
        passwords.push((user, password));
    }
    Ok(Secrets { files, passwords, broker })
}

impl Secrets {
    /// Lines of the broker's settings.
    pub(super) fn of_broker(&self) -> String {
        let kafka = "org.apache.kafka.common.security";
        let mut lines = vec![
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            // ANONYMOUS is whoever comes by the plain listener, and the brokers among themselves.
            format!("super.users=User:ANONYMOUS;User:{0};User:CN={0}", USERS[0]),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", self.broker.display()),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.files["ca"].display()),
            "listener.name.mtls.ssl.client.auth=required".to_owned(),
            "listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
            format!(
                "listener.name.oauth.oauthbearer.sasl.jaas.config={kafka}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";"
            ),
        ];
        let users: Vec<String> =
            self.passwords.iter().map(|(user, password)| format!("user_{user}=\"{password}\"")).collect();
        let plain = format!("{kafka}.plain.PlainLoginModule required {};", users.join(" "));
        for listener in LISTENERS.map(|name| format!("listener.name.{name}")) {
            lines.push(format!("{listener}.sasl.enabled.mechanisms=PLAIN,{}", SCRAM.join(",")));
            lines.push(format!("{listener}.plain.sasl.jaas.config={plain}"));
            for mechanism in SCRAM.map(str::to_lowercase) {
                let module = format!("{kafka}.scram.ScramLoginModule required;");
                lines.push(format!("{listener}.{mechanism}.sasl.jaas.config={module}"));
            }
        }
        lines.join("\n") + "\n"
    }

    /// What Kafka's `StorageTool` is told, so that the users of the salted mechanisms are there from the start.
    pub(super) fn of_storage(&self) -> Vec<String> {
        let users = self.passwords.iter().flat_map(|(user, password)| {
            SCRAM.map(|mechanism| format!("{mechanism}=[name={user},password={password}]"))
        });
        users.flat_map(|user| ["--add-scram".to_owned(), user]).collect()
    }
}

/// A certificate authority: `NAME.pem` and `NAME.key`.
fn authority(home: &Path, name: &str) -> Result<()> {
    let subject = format!("/CN={name}");
    let mut openssl = openssl(home, &["req", "-x509", "-days", "30", "-subj", &subject]);
    openssl.args(["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
    made(key(&mut openssl, name))
}

/// A key, and a certificate for it by our authority.
fn signed(home: &Path, name: &str, common_name: &str, extension: &str) -> Result<()> {
    let subject = format!("/CN={common_name}");
    let mut openssl = openssl(home, &["req", "-x509", "-days", "30", "-subj", &subject]);
    openssl.args(["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", extension]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    made(key(&mut openssl, name))
}

fn openssl(home: &Path, arguments: &[&str]) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(home).args(arguments);
    openssl
}

fn key<'a>(openssl: &'a mut Command, name: &str) -> &'a mut Command {
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.arg("-keyout").arg(format!("{name}.key")).arg("-out").arg(format!("{name}.pem"))
}

fn made(openssl: &mut Command) -> Result<()> {
    let answer = openssl.output().context("start `openssl`")?;
    let told = String::from_utf8_lossy(&answer.stderr);
    ensure!(answer.status.success(), "`{}` failed: {}", shown(openssl), told.trim());
    Ok(())
}

/// 128 random bits, as hexadecimal digits.
fn password() -> Result<String> {
    let mut bytes = [0; 16];
    let random = fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    random.context("read /dev/urandom")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_can_come_by_every_mechanism() {
        let passwords = vec![("headwater", "abc".to_owned()), ("stranger", "def".to_owned())];
        let files = [("ca".to_owned(), "x/ca.pem".into())].into();
        let secrets = Secrets { files, passwords, broker: "x/broker.pem".into() };
        let settings = secrets.of_broker();
        let plain = "PlainLoginModule required user_headwater=\"abc\" user_stranger=\"def\";";
        assert_eq!(settings.matches(plain).count(), 2, "{settings}");
        assert!(settings.contains("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config="), "{settings}");
        let storage = secrets.of_storage();
        assert_eq!(storage.len(), 8);
        assert_eq!(storage[1], "SCRAM-SHA-256=[name=headwater,password=abc]");
    }

    #[test]
    fn passwords_differ() {
        let (one, other) = (password().expect("random"), password().expect("random"));
        assert!(one != other && one.len() == 32);
    }
}
