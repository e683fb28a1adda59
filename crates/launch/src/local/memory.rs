//! How much memory a process and its descendants hold, and whether the kernel had to kill for want of it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How often memory is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// How many processes of one job are looked at.
const PROCESSES_MAX: usize = 4096;

/// Whether `first` and its descendants hold more than they may.
pub(super) fn is_over(first: u32, bytes_max: u64) -> bool {
    // Summing resident pages is cheap and counts shared ones several times, so it only raises a suspicion.
    let family = family(first);
    let sum = |bytes: fn(u32) -> Option<u64>| family.iter().filter_map(|process| bytes(*process)).sum::<u64>();
    sum(resident_bytes) > bytes_max && (family.len() == 1 || sum(proportional_bytes) > bytes_max)
}

/// What the kernel may refuse one process beyond, between two looks.
pub(super) fn private_bytes_max(bytes_max: u64) -> u64 {
    bytes_max.saturating_mul(2).saturating_add(256 << 20)
}

fn family(first: u32) -> Vec<u32> {
    let mut family = vec![first];
    let mut at = 0;
    while at < family.len() && family.len() < PROCESSES_MAX {
        let tasks = fs::read_dir(format!("/proc/{}/task", family[at])).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    family
}

fn resident_bytes(process: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn proportional_bytes(process: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// The kernel's own count of processes it killed for want of memory, in the memory group that we and our processes share.
pub(super) struct KernelKills {
    file: Option<PathBuf>,
    before: u64,
}

impl KernelKills {
    pub(super) fn watch() -> Self {
        let file = file();
        Self { before: file.as_ref().and_then(count).unwrap_or_default(), file }
    }

    /// Whether it killed since.
    pub(super) fn happened(&self) -> bool {
        self.file.as_ref().and_then(count).is_some_and(|now| now > self.before)
    }
}

fn file() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let files = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_start_matches('/');
        match controllers {
            "" => Some(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events")),
            "memory" => Some(PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control")),
            _ => None,
        }
    });
    files.into_iter().find(|file| count(file).is_some())
}

fn count(file: &PathBuf) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_hold_more_than_a_page_and_less_than_a_tebibyte() {
        let own = std::process::id();
        assert!(is_over(own, 4096));
        assert!(!is_over(own, 1 << 40));
        assert!(proportional_bytes(own).unwrap() <= resident_bytes(own).unwrap() + (1 << 20));
    }
}
