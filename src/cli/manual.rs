use clap::{Args, CommandFactory as _};

use super::{Failure, Quorate, output, running};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell that is to complete commands and flags
    shell: clap_complete::Shell,
}

/// Of which command.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Words of the command, such as `lab up`; the whole program without
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl Completions {
    /// Prints a script that the shell reads at its start.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Quorate::command(), "quorate", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}

impl Man {
    /// Prints a page for `man -l -`.
    pub(super) fn run(&self) -> Result<(), Failure> {
        output::print(&self.page()?)
    }

    fn page(&self) -> Result<String, Failure> {
        let mut whole = Quorate::command();
        whole.build();
        let mut command = &whole;
        for word in &self.command {
            command = command.find_subcommand(word).ok_or_else(|| {
                let words = self.command.join(" ");
                let error = format!("`{words}` is no command of quorate; see `quorate --help`");
                Failure::Configuration(error.into())
            })?;
        }
        let name = command.get_display_name().unwrap_or("quorate").to_owned();
        let page = clap_mangen::Man::new(command.clone()).title(name);
        let mut roff = Vec::new();
        page.render(&mut roff).map_err(running)?;
        Ok(String::from_utf8_lossy(&roff).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let page = |words: &[&str]| {
            Man { command: words.iter().map(|word| (*word).to_owned()).collect() }.page()
        };
        let whole = page(&[]).unwrap();
        assert!(whole.contains(".TH quorate 1") && whole.contains("predict"), "{whole}");
        let lab = page(&["lab", "up"]).unwrap();
        assert!(lab.contains(".TH quorate-lab-up 1") && lab.contains("mode"), "{lab}");
        let Err(Failure::Configuration(error)) = page(&["lab", "dawn"]) else {
            panic!("there is no such command")
        };
        assert!(error.to_string().contains("`lab dawn`"), "{error}");
    }
}
