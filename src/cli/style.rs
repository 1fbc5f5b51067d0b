//! Colour: on terminals only, unless `--color` says otherwise.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

/// When output is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    /// Everywhere, also in files and pipes.
    Always,
    /// Nowhere.
    Never,
}

/// What the user asked for. Set once, before anything is printed.
static ASKED: OnceLock<When> = OnceLock::new();

/// Which of the process's two outputs a word is for; each may be a terminal or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

impl Stream {
    /// Whether this stream gets colour.
    pub(crate) fn coloured(self) -> bool {
        let terminal = match self {
            Self::Out => io::stdout().is_terminal(),
            Self::Err => io::stderr().is_terminal(),
        };
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match ASKED.get().copied().unwrap_or_default() {
            When::Always => true,
            When::Never => false,
            // https://no-color.org: any value but an empty one.
            When::Auto => {
                terminal
                    && set("NO_COLOR").is_none()
                    && set("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }

    /// For what holds.
    pub(crate) fn green(self, text: &str) -> String {
        self.styled("32", text)
    }

    /// For what does not.
    pub(crate) fn red(self, text: &str) -> String {
        self.styled("31;1", text)
    }

    /// For what leads the eye.
    pub(crate) fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    fn styled(self, code: &str, text: &str) -> String {
        if self.coloured() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Takes `--color` from the command line before it is parsed, since help and usage errors are
/// coloured too. What is no valid choice is left to the parser, which says so.
pub(crate) fn choose(arguments: &[OsString]) -> clap::ColorChoice {
    let mut asked = When::Auto;
    let mut words = arguments.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next().filter(|word| *word != "--") {
        let value = match word.split_once('=') {
            Some(("--color", value)) => Some(value),
            None if word == "--color" => words.next(),
            _ => None,
        };
        let choice = value.map(|value| <When as clap::ValueEnum>::from_str(value, false));
        if let Some(Ok(choice)) = choice {
            asked = choice;
        }
    }
    let asked = *ASKED.get_or_init(|| asked);
    match asked {
        When::Auto => clap::ColorChoice::Auto,
        When::Always => clap::ColorChoice::Always,
        When::Never => clap::ColorChoice::Never,
    }
}
