//! The settings of a private server, given on its command line.
//!
//! The command line wins over every file in the cluster, so what a new version of this binary wants takes
//! effect at the next start. Memory sizes come from the machine or, in a container, from its limit.

use std::fs;

use super::{Durability, EmbeddedOptions};

const MB: u64 = 1024 * 1024;
/// What we assume where the size of the memory cannot be read; gives 256 MB of shared buffers.
const ASSUMED_MEMORY: u64 = 1024 * MB;

/// Names and values in the order in which PostgreSQL reads them: the last one of a name counts.
pub(super) fn server_settings(options: &EmbeddedOptions) -> Vec<(String, String)> {
    let memory_mb = memory_bytes() / MB;
    let mut settings: Vec<(&str, String)> = vec![
        ("effective_cache_size", format!("{}MB", (memory_mb / 2).max(256))),
        // 512 MB on anything but a small machine: index builds and the refresh of the summaries use it.
        ("maintenance_work_mem", format!("{}MB", (memory_mb / 8).clamp(64, 512))),
    ];
    let fixed = [
        ("jit", "off"),
        ("max_connections", "50"),
        ("random_page_cost", "1.1"),
        ("max_wal_size", "4GB"),
        ("checkpoint_timeout", "15min"),
        ("autovacuum", "on"),
        ("max_parallel_maintenance_workers", "2"),
        ("log_min_messages", "warning"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("log_timezone", "UTC"),
        ("timezone", "UTC"),
        // What "on" means, pglz, costs more than it saves: 10,000 changed records of a million took 15 s with it and 4 s
        // without, the indexes of a first load 64 s and 55 s. (lz4 writes a third less, but not every build has it.)
        ("wal_compression", "off"),
        // Nobody replicates or archives a private server, so an index over new rows is written to its file alone: 48 s.
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
    ];
    settings.extend(fixed.map(|(name, value)| (name, value.to_owned())));
    match options.durability {
        Durability::Durable => settings.push(("shared_buffers", format!("{}MB", (memory_mb / 4).clamp(128, 2048)))),
        Durability::Throwaway => {
            let fast = [("shared_buffers", "128MB"), ("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];
            settings.extend(fast.map(|(name, value)| (name, value.to_owned())));
        }
    }
    if small_shared_memory() {
        // A container has 64 MB of /dev/shm unless told otherwise, and parallel queries fail when it is full.
        settings.push(("dynamic_shared_memory_type", "mmap".to_owned()));
    }
    let ours = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
    ours.chain(options.settings.iter().cloned()).collect()
}

/// The memory of the machine, or the limit of our container when that is less.
fn memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(parse_meminfo);
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(limit).min().unwrap_or(ASSUMED_MEMORY)
}

/// Bytes from the line `MemTotal: 24617980 kB`.
fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// True when the shared memory file system exists and is smaller than parallel queries may need.
fn small_shared_memory() -> bool {
    rustix::fs::statvfs("/dev/shm").is_ok_and(|shm| shm.f_blocks.saturating_mul(shm.f_frsize) < 512 * MB)
}

#[cfg(test)]
mod tests {
    use super::{parse_meminfo, server_settings};
    use crate::db::embedded::EmbeddedOptions;

    #[test]
    fn reads_the_memory_of_the_machine() {
        assert_eq!(parse_meminfo("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1024 * 1024));
        assert_eq!(parse_meminfo("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn settings_of_the_caller_come_last_and_so_win() {
        let mut options = EmbeddedOptions::new("/nowhere");
        options.settings.push(("jit".to_owned(), "on".to_owned()));
        let settings = server_settings(&options);
        assert_eq!(settings.iter().rfind(|(name, _)| name == "jit").map(|(_, value)| value.as_str()), Some("on"));
        assert_eq!(settings.last().map(|(name, _)| name.as_str()), Some("jit"));
    }
}
