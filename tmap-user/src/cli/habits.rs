//! What users of tcpdump, tshark and p0f type by habit, turned into tmap's own commands.

use std::{ffi::OsString, path::Path};

/// Short options of those tools that may stand before `r` in one word: `-nr FILE`.
const FLAGS: [char; 2] = ['n', 'v'];

/// Arguments with the command that they imply: `tmap -i eth0` and `tmap eth0` watch, `tmap -r FILE` and
/// `tmap FILE` read. What names both a file and an interface implies nothing.
pub(super) fn with_implied_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(first) = arguments.get(1).and_then(|first| first.to_str()).map(str::to_owned) else {
        return arguments;
    };
    let is_about_tmap = matches!(first.as_str(), "-h" | "--help" | "--help-all" | "-V" | "--version");
    if is_about_tmap || super::COMMANDS.contains(&first.as_str()) {
        return arguments;
    }
    if first == "-" || (!first.starts_with('-') && is_file(&first) && !is_interface(&first)) {
        arguments.insert(1, "read".into());
    } else if first.starts_with('-') {
        let reads = arguments[1..].iter().take_while(|word| *word != "--").any(reads_a_file);
        arguments.insert(1, if reads { "read" } else { "live" }.into());
    } else if is_interface(&first) && !is_file(&first) {
        arguments.splice(1..1, ["live".into(), "-i".into()]);
    }
    arguments
}

/// `-r`, `-rFILE`, `-nr`, `--read`.
fn reads_a_file(word: &OsString) -> bool {
    let Some(word) = word.to_str() else { return false };
    match word.strip_prefix('-') {
        Some(long) if long.starts_with('-') => long == "-read" || long.starts_with("-read="),
        Some(short) => short.trim_start_matches(FLAGS).starts_with('r'),
        None => false,
    }
}

/// Whether there is such a file, or something else that can be read.
pub(super) fn is_file(name: &str) -> bool {
    Path::new(name).metadata().is_ok_and(|metadata| !metadata.is_dir())
}

/// Whether there is such an interface here.
pub(super) fn is_interface(name: &str) -> bool {
    !name.contains('/') && !name.is_empty() && Path::new("/sys/class/net").join(name).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_imply_a_command() {
        let implied = |line: &str| {
            let words = with_implied_command(line.split(' ').map(OsString::from).collect());
            words[1..].iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        for (line, means) in [
            ("tmap -i eth0", "live -i eth0"),
            ("tmap -n -i eth0 port 80", "live -n -i eth0 port 80"),
            ("tmap -r a.pcap", "read -r a.pcap"),
            ("tmap -nr a.pcap", "read -nr a.pcap"),
            ("tmap -ra.pcap", "read -ra.pcap"),
            ("tmap -v --read a.pcap", "read -v --read a.pcap"),
            ("tmap -i r0", "live -i r0"),
            ("tmap -", "read -"),
            ("tmap lo port 80", "live -i lo port 80"),
            ("tmap /dev/null", "read /dev/null"),
            ("tmap read a", "read a"),
            ("tmap --help", "--help"),
            ("tmap /nowhere/a.pcap", "/nowhere/a.pcap"),
        ] {
            assert_eq!(implied(line), means, "{line}");
        }
    }
}
