//! Whether the machine has the memory that a study needs.

/// Whether this many bytes can be used without swapping or being killed for it.
///
/// Linux says what is free, for the machine and for the control group. Elsewhere the allocator is
/// asked, which refuses only what is far too much.
pub(crate) fn has(bytes: u64) -> bool {
    match linux() {
        Some(free) => bytes <= free,
        None => usize::try_from(bytes)
            .is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok()),
    }
}

fn linux() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = of_machine(&read("/proc/meminfo")?)?;
    let group = || {
        let limit = read("/sys/fs/cgroup/memory.max")?;
        of_group(&limit, &read("/sys/fs/cgroup/memory.current")?)
    };
    Some(group().map_or(machine, |group| group.min(machine)))
}

/// `MemAvailable` and the free swap, in bytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let swap = field("SwapFree:").unwrap_or(0);
    Some(1024 * (field("MemAvailable:")? + swap))
}

/// `None` for a group without a limit.
fn of_group(limit: &str, used: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    Some(limit.saturating_sub(used.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_group_counts() {
        let meminfo = "MemTotal: 9 kB\nMemAvailable:   5 kB\nSwapFree: 2 kB\n";
        assert_eq!(of_machine(meminfo), Some(7 * 1024));
        assert_eq!(of_machine("MemTotal: 9 kB\n"), None);
        assert_eq!(of_group("max\n", "17\n"), None);
        assert_eq!(of_group("100\n", "17\n"), Some(83));
        assert_eq!(of_group("10\n", "17\n"), Some(0));
    }

    #[test]
    fn no_machine_has_everything() {
        assert!(has(1));
        assert!(!has(u64::MAX));
    }
}
