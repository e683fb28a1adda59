//! Ends what a killed program would leave behind.
//!
//! The kernel kills a process when the thread that started it ends, and so also when the whole program is killed; but
//! not that process's own children. So a shell of its own group reads from a pipe which groups live. The pipe ends with
//! the program, however that ended, and the shell then kills what is still on its list. Where there is no `/bin/sh`,
//! the kernel's promise for the first process is all there is.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

const SCRIPT: &str = "
groups=' '
while read -r word group; do
  case $word in
    start) groups=\"$groups$group \" ;;
    end) case $groups in *\" $group \"*) groups=\"${groups%% $group *} ${groups#* $group }\" ;; esac ;;
  esac
done
for group in $groups; do kill -9 \"-$group\"; done
";

/// The list, and the shell that has a copy of it.
#[derive(Default)]
pub(super) struct Keeper {
    groups: HashSet<u32>,
    shell: Option<(Child, ChildStdin)>,
}

impl Keeper {
    pub(super) fn start(&mut self, group: u32) {
        self.groups.insert(group);
        let told = self.tell(&format!("start {group}\n"));
        if told.is_err() {
            self.renew();
        }
    }

    pub(super) fn end(&mut self, group: u32) {
        self.groups.remove(&group);
        // If the shell is gone, the next one is told the whole list.
        let _ = self.tell(&format!("end {group}\n"));
    }

    fn tell(&mut self, words: &str) -> io::Result<()> {
        let (_, pipe) = self.shell.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        pipe.write_all(words.as_bytes())
    }

    /// There was no shell yet, or somebody killed it.
    fn renew(&mut self) {
        self.close();
        let started = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut shell) = started else { return };
        self.shell = shell.stdin.take().map(|pipe| (shell, pipe));
        let list: Vec<String> = self.groups.iter().map(|group| format!("start {group}\n")).collect();
        let _ = self.tell(&list.concat());
    }

    fn close(&mut self) {
        if let Some((mut shell, pipe)) = self.shell.take() {
            drop(pipe);
            let _ = shell.wait();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn sleeper() -> Child {
        Command::new("/bin/sleep").arg("1000").process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_shell_that_was_killed_is_renewed_and_knows_the_whole_list() {
        let mut keeper = Keeper::default();
        let (mut first, mut second, mut ended) = (sleeper(), sleeper(), sleeper());
        keeper.start(first.id());
        keeper.start(ended.id());
        let (shell, _) = keeper.shell.as_mut().unwrap();
        shell.kill().unwrap();
        shell.wait().unwrap();
        keeper.end(ended.id());
        keeper.start(second.id());
        // As when the program ends: the pipe does, too.
        drop(keeper);
        assert_eq!(first.wait().unwrap().signal(), Some(9));
        assert_eq!(second.wait().unwrap().signal(), Some(9));
        assert!(ended.try_wait().unwrap().is_none(), "what has ended is off the list");
        ended.kill().unwrap();
        ended.wait().unwrap();
    }
}
