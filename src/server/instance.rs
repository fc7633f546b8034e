//! Which SPIRE Server this process serves: its plugins are processes of their own, and children of the same one.

use std::fs;
use std::io;
use std::os::unix::process::parent_id;

/// A running SPIRE Server, in words that no other one, now or later, has: the machine, its boot, the process in it, and
/// when that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance(String);

impl Instance {
    /// The one that started this process.
    ///
    /// # Errors
    /// Where `/proc` does not show it.
    pub(crate) fn of_parent() -> io::Result<Self> {
        let parent = parent_id();
        let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let stat = fs::read_to_string(format!("/proc/{parent}/stat"))?;
        let began = start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let (host, boot) = (host.trim(), boot.trim());
        Ok(Self(format!("{host} {boot} {parent} {began}")))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Field 22 of a process's `stat`, in clock ticks since the boot (proc(5)). Field 2, the name, is in parentheses and may
/// hold anything, more of them as well.
fn start_time(stat: &str) -> Option<u64> {
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for name in ["spire-server", "a b", ") S 1 (", "()", ""] {
            let stat = format!("17 ({name}) {rest}\n");
            assert_eq!(start_time(&stat), Some(4711), "{name}");
        }
        for stat in [
            "",
            "17 (a",
            "17 (a) S 1",
            "17 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
        ] {
            assert_eq!(start_time(stat), None, "{stat}");
        }
    }

    #[test]
    fn it_is_the_same_each_time_and_names_the_parent() {
        let instance = Instance::of_parent().unwrap();
        assert_eq!(instance, Instance::of_parent().unwrap());
        let words: Vec<_> = instance.as_str().split(' ').collect();
        assert_eq!(words.len(), 4, "{words:?}");
        assert_eq!(words[2], parent_id().to_string());
        assert_eq!(words[1].len(), 36, "a boot id");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(words[0], host.trim());
        let stat = fs::read_to_string(format!("/proc/{}/stat", parent_id())).unwrap();
        let (_, behind_name) = stat.rsplit_once(") ").unwrap();
        let began = behind_name.split(' ').nth(22 - 3);
        assert_eq!(Some(words[3]), began, "field 22");
    }
}
