//! The settings of a broker, small and quick for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::secure::Secrets;

/// Any would do: no cluster ever meets another.
pub(super) const CLUSTER: &str = "aGVhZHdhdGVyLXRlc3RzMQ";

/// The listener of the controllers.
pub(super) const CONTROLLER: &str = "CONTROLLER";

/// Listeners of a broker without secrets.
pub(super) const PLAIN: [&str; 2] = [CONTROLLER, "PLAINTEXT"];

/// Listeners of a broker with secrets. `PLAINTEXT` is for administration.
pub(super) const SECURE: [&str; 6] = [CONTROLLER, "PLAINTEXT", "SASL_SSL", "SASL_PLAINTEXT", "MTLS", "OAUTH"];

/// All lines of a broker's log go to its standard output.
pub(super) const LOG4J: &str = "\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
";

/// For every broker. Nothing is ever too old to be kept, unless a topic says so: tests write records of any date.
const COMMON: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
num.partitions=4
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms=500
log.retention.ms=-1
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.dedupe.buffer.size=8388608
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
transaction.remove.expired.transaction.cleanup.interval.ms=10000
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=5000
controlled.shutdown.enable=true
num.network.threads=2
num.io.threads=4
";

/// A broker's number, folder and ports by listener.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    /// From 1, and Kafka's `node.id`.
    pub(super) number: u32,
    /// Its settings, log and data.
    pub(super) folder: PathBuf,
    /// On 127.0.0.1.
    pub(super) ports: BTreeMap<&'static str, u16>,
}

/// The name of a listener in `service.json`.
pub(super) fn name(kind: &str) -> &'static str {
    match kind {
        "PLAINTEXT" => "plaintext",
        "SASL_SSL" => "saslSsl",
        "SASL_PLAINTEXT" => "saslPlaintext",
        "MTLS" => "mtls",
        "OAUTH" => "oauth",
        _ => "controller",
    }
}

/// The settings file of a broker.
pub(super) fn text(broker: &Broker, all: &[Broker], secrets: Option<&Secrets>) -> String {
    let mut text = COMMON.to_owned();
    let mut set = |key: &str, value: &str| {
        let _infallible = writeln!(text, "{key}={value}");
    };
    let addresses = |is_wanted: fn(&str) -> bool| {
        let wanted = broker.ports.iter().filter(|(kind, _)| is_wanted(kind));
        wanted.map(|(kind, port)| format!("{kind}://127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    };
    set("node.id", &broker.number.to_string());
    set("log.dirs", &broker.folder.join("data").to_string_lossy());
    set("listeners", &addresses(|_| true));
    set("advertised.listeners", &addresses(|kind| kind != CONTROLLER));
    let voters = all.iter().filter_map(|one| Some(format!("{}@127.0.0.1:{}", one.number, one.ports.get(CONTROLLER)?)));
    set("controller.quorum.voters", &voters.collect::<Vec<_>>().join(","));
    let protocols = broker.ports.keys().map(|kind| format!("{kind}:{}", protocol(kind)));
    set("listener.security.protocol.map", &protocols.collect::<Vec<_>>().join(","));
    let (copies, in_sync) = if all.len() >= 3 { ("3", "2") } else { ("1", "1") };
    set("default.replication.factor", copies);
    set("min.insync.replicas", in_sync);
    set("offsets.topic.replication.factor", copies);
    for topic in ["transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.replication.factor"), copies);
        set(&format!("{topic}.min.isr"), in_sync);
    }
    text + &secrets.map(Secrets::of_broker).unwrap_or_default()
}

fn protocol(kind: &str) -> &str {
    match kind {
        "MTLS" => "SSL",
        "OAUTH" => "SASL_SSL",
        CONTROLLER => "PLAINTEXT",
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(number: u32) -> Broker {
        let port = 20_000 + u16::try_from(number).expect("small") * 10;
        let folder = format!("x/broker-{number}").into();
        Broker { number, folder, ports: [(CONTROLLER, port), ("PLAINTEXT", port + 1)].into() }
    }

    #[test]
    fn three_brokers_vote_and_keep_three_copies() {
        let all = [1, 2, 3].map(broker);
        let text = text(&all[1], &all, None);
        for line in [
            "node.id=2",
            "log.dirs=x/broker-2/data",
            "listeners=CONTROLLER://127.0.0.1:20020,PLAINTEXT://127.0.0.1:20021",
            "advertised.listeners=PLAINTEXT://127.0.0.1:20021",
            "controller.quorum.voters=1@127.0.0.1:20010,2@127.0.0.1:20020,3@127.0.0.1:20030",
            "offsets.topic.replication.factor=3",
            "transaction.state.log.min.isr=2",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn one_broker_keeps_one_copy() {
        let text = text(&broker(1), &[broker(1)], None);
        assert!(text.contains("\ntransaction.state.log.replication.factor=1\n"), "{text}");
        assert!(text.contains("\nmin.insync.replicas=1\n"), "{text}");
    }
}
