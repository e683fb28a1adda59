//! What tests share: commands of the shell, and looking at processes from outside.

use std::fs;
use std::future::Future;
use std::time::Duration;

use launch::{Command, Ended, Event, Launcher, Stream};

/// Nothing here takes longer, unless it hangs.
const LONGEST: Duration = Duration::from_secs(30);

pub(crate) fn shell(name: &str, script: &str) -> Command {
    let mut command = Command::new(name, "sh");
    command.arguments = vec!["-c".to_owned(), script.to_owned()];
    command.environment = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    command
}

/// Everything that one process said.
pub(crate) struct Heard {
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
    pub(crate) ended: Ended,
}

/// Starts, hears all and gives the name back.
pub(crate) async fn run(launcher: &dyn Launcher, command: Command) -> Heard {
    let name = command.name.clone();
    launcher.start(command).await.unwrap();
    let heard = hear(launcher, &name).await;
    launcher.stop(&name, Duration::ZERO).await.unwrap().unwrap();
    heard
}

pub(crate) async fn hear(launcher: &dyn Launcher, name: &str) -> Heard {
    let mut watch = launcher.watch(name).await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match within(watch.next()).await.unwrap() {
            Event::Lines(stream, lines) => {
                let to = if stream == Stream::Stdout { &mut out } else { &mut err };
                to.extend(lines.iter().map(|line| line.text().into_owned()));
            }
            Event::Ended(ended) => {
                assert!(within(watch.next()).await.is_none(), "nothing follows the end");
                return Heard { out, err, ended: *ended };
            }
        }
    }
}

/// The first line that it says.
pub(crate) async fn first_line(launcher: &dyn Launcher, name: &str) -> String {
    let mut watch = launcher.watch(name).await.unwrap();
    let Some(Event::Lines(_, lines)) = within(watch.next()).await else { panic!("it ended without a line") };
    lines[0].text().into_owned()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONGEST, future).await.expect("it hangs")
}

/// Whether the process is there and no zombie.
pub(crate) fn is_alive(process: &str) -> bool {
    state(process).is_some_and(|state| state != 'Z')
}

/// Whether anything of it is left, be it a zombie.
pub(crate) fn state(process: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.trim())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) async fn until_gone(process: &str) {
    within(async {
        while is_alive(process) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
