//! Kafka's own tools.

use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A tool that takes longer than this is ended.
const END_WITHIN: Duration = Duration::from_mins(2);

/// One of Kafka's own tools, with its arguments.
#[derive(Debug)]
#[must_use = "a tool does nothing until it runs"]
pub struct Tool {
    name: String,
    command: Command,
    input: Vec<u8>,
}

/// What a tool said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it ended well.
    pub succeeded: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Tool {
    /// `kafka-topics`.
    pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
    /// `kafka-console-consumer`. Give it `--max-messages` or `--timeout-ms`.
    pub const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    /// `kafka-console-producer`: a line of input is a message.
    pub const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
    /// `kafka-consumer-groups`.
    pub const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    /// `kafka-producer-perf-test`.
    pub const LOAD: &str = "org.apache.kafka.tools.ProducerPerformance";
    /// `kafka-transactions`.
    pub const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
    /// `kafka-leader-election`.
    pub const ELECTION: &str = "org.apache.kafka.tools.LeaderElectionCommand";
    /// `kafka-reassign-partitions`.
    pub const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    /// `kafka-acls`.
    pub const ACLS: &str = "org.apache.kafka.tools.AclCommand";
    /// `kafka-configs`.
    pub const CONFIGS: &str = "kafka.admin.ConfigCommand";

    pub(super) fn new(jars: &Path, class: &str) -> Tool {
        let mut command = Command::new("java");
        // It lives for a second: compiling well would take longer than it saves.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"]).arg(jars.join("*")).arg(class);
        Tool { name: class.rsplit('.').next().unwrap_or(class).to_owned(), command, input: Vec::new() }
    }

    /// Adds arguments.
    pub fn arguments(mut self, arguments: &[&str]) -> Tool {
        self.command.args(arguments);
        self
    }

    /// What it reads from its standard input. Nothing otherwise.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Tool {
        self.input = input.into();
        self
    }

    /// Runs it to its end. It panics after two minutes.
    pub fn run(mut self) -> Answer {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("java starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let input = std::mem::take(&mut self.input);
        std::thread::spawn(move || {
            // A tool that needs no more of it closes its end.
            drop(stdin.write_all(&input));
        });
        let (stdout, stderr) = (reading(stdout), reading(stderr));
        let Ok(stdout) = stdout.recv_timeout(END_WITHIN) else {
            drop(child.kill());
            drop(child.wait());
            panic!("{} did not end within {END_WITHIN:?}: {}", self.name, stderr.recv().unwrap_or_default());
        };
        let stderr = stderr.recv().expect("what the tool said");
        Answer { succeeded: child.wait().expect("the tool ends").success(), stdout, stderr }
    }

    /// Runs it to its end, which must be a good one, and gives its standard output.
    pub fn output(self) -> String {
        let name = self.name.clone();
        let answer = self.run();
        assert!(answer.succeeded, "{name} failed:\n{}{}", answer.stdout, answer.stderr);
        answer.stdout
    }
}

/// All that comes out of a pipe, read beside.
fn reading(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        drop(send.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receive
}
