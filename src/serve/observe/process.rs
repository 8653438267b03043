//! What the process takes of its machine, under the names that Prometheus' own clients use.

use std::fmt::Write;
use std::time::Duration;

/// What the process takes of its machine. What the system does not say is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// When the server was made, since 1970.
    pub started: Duration,
    /// CPU time of all threads.
    pub cpu: Duration,
    /// Bytes of memory in use.
    pub resident: u64,
    /// Bytes of address space.
    pub virtual_memory: u64,
    /// Descriptors in use.
    pub fds: u64,
    /// The limit of those.
    pub fds_max: u64,
}

impl Process {
    /// This process now, whose server was made at `started`.
    pub(crate) fn now(started: Duration) -> Process {
        use rustix::process::{Resource, getrlimit};
        use rustix::time::{ClockId, clock_gettime};
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(cpu.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(cpu.tv_nsec).unwrap_or(0);
        let (virtual_memory, resident) = memory().unwrap_or_default();
        Process {
            started,
            cpu: Duration::new(seconds, nanos),
            resident,
            virtual_memory,
            fds: fds(),
            fds_max: getrlimit(Resource::Nofile).current.unwrap_or(0),
        }
    }

    /// Adds it in the text format of Prometheus.
    pub(super) fn write(&self, text: &mut String) {
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        let rows = [
            (
                "start_time_seconds",
                "gauge",
                "When the server was made, in seconds since 1970.",
                seconds(self.started),
            ),
            ("cpu_seconds_total", "counter", "CPU time of all threads.", seconds(self.cpu)),
            ("resident_memory_bytes", "gauge", "Memory in use.", self.resident.to_string()),
            ("virtual_memory_bytes", "gauge", "Address space.", self.virtual_memory.to_string()),
            ("open_fds", "gauge", "Descriptors in use.", self.fds.to_string()),
            ("max_fds", "gauge", "The limit of descriptors.", self.fds_max.to_string()),
        ];
        for (name, kind, help, value) in rows {
            let _ = writeln!(text, "# HELP process_{name} {help}\n# TYPE process_{name} {kind}");
            let _ = writeln!(text, "process_{name} {value}");
        }
    }
}

/// Bytes of address space, and of memory in use.
fn memory() -> Option<(u64, u64)> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let mut pages = statm.split(' ').map_while(|word| word.parse::<u64>().ok());
    Some((pages.next()? * page, pages.next()? * page))
}

/// Descriptors in use; the one by which they are counted is not among them.
fn fds() -> u64 {
    let entries = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (entries as u64).saturating_sub(1)
}
