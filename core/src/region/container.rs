//! What the container lets this process still allocate.
//!
//! A region's memory is charged to whoever makes it. Going over the limit is
//! not an error from any call: the kernel kills. So it is compared before.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// A hierarchy of control groups: where it is mounted and what its files are.
struct Hierarchy {
    root: &'static str,
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: pages of files, and those of them that are memory.
    cache: [&'static str; 2],
}

const V2: Hierarchy = Hierarchy {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    cache: ["file", "shmem"],
};

const V1: Hierarchy = Hierarchy {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: ["total_cache", "total_shmem"],
};

/// The bytes left below the tightest limit of this process's control group and
/// those above it; `None` if there is none, or none can be read.
pub fn memory_left() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let left = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, group) = line.split_once(':')?;
        if controllers.is_empty() {
            V2.left(group)
        } else if controllers.split(',').any(|name| name == "memory") {
            V1.left(group)
        } else {
            None
        }
    });
    left.min()
}

impl Hierarchy {
    /// The least that is left in a group or above it. A group that is not to
    /// be seen from inside the container is passed over: its root is.
    fn left(&self, group: &str) -> Option<u64> {
        let root = Path::new(self.root);
        let own: PathBuf = root.join(group.trim_start_matches('/'));
        own.ancestors()
            .take_while(|directory| directory.starts_with(root))
            .filter_map(|directory| self.left_in(directory))
            .min()
    }

    fn left_in(&self, directory: &Path) -> Option<u64> {
        let number = |name| -> Option<u64> {
            let text = read_to_string(directory.join(name)).ok()?;
            text.trim().parse().ok()
        };
        let (limit, used) = (number(self.limit)?, number(self.used)?);
        let stat = read_to_string(directory.join("memory.stat")).ok()?;
        let field = |name| -> u64 {
            stat.lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(field, _)| *field == name)
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(0)
        };
        // Pages of ordinary files count as free: the kernel drops them first.
        let [cache, memory] = self.cache.map(field);
        let droppable = cache.saturating_sub(memory);
        Some(limit.saturating_sub(used.saturating_sub(droppable)))
    }
}
