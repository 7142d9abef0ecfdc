use std::fmt::Write as _;

use super::{Kind, SECTIONS, Treatment};

/// The text of `--help`: every flag by section, with default and meaning.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: quorate-node [flags]\n\n\
         Runs one member of an etcd-compatible cluster. Every flag has an environment variable\n\
         (--data-dir: ETCD_DATA_DIR) and a key in the YAML file of --config-file.\n",
    );
    for section in SECTIONS {
        let _ = write!(text, "\n{}:\n", section.title); // a String takes everything
        for flag in section.flags {
            let value = match flag.kind {
                Kind::Bool | Kind::Nothing => String::new(),
                Kind::Int | Kind::Uint => format!(" {}", flag.default),
                _ => format!(" '{}'", flag.default),
            };
            let on = if flag.kind == Kind::Bool && flag.default == "true" { "=true" } else { "" };
            let _ = writeln!(text, "  --{}{on}{value}", flag.name);
            let meaning = match flag.treatment {
                Treatment::Alias(target) => format!("Older name of --{target}."),
                Treatment::Warn(meaning) => format!("{} Here: {meaning}.", flag.help),
                Treatment::Refuse(why) => format!("{} Not in this release: {why}.", flag.help),
                Treatment::Legacy => continue,
                _ => flag.help.to_owned(),
            };
            let _ = writeln!(text, "        {meaning}");
        }
    }
    text
}
