//! Colours and width, where there is a terminal to have them.

use std::io::IsTerminal;

/// How a stream may be written to.
#[derive(Clone, Copy)]
pub struct Style {
    /// Escape sequences are understood, and wanted.
    pub colours: bool,
}

/// Of standard output.
pub fn stdout() -> Style {
    Style::of(std::io::stdout().is_terminal())
}

/// Of standard error.
pub fn stderr() -> Style {
    Style::of(std::io::stderr().is_terminal())
}

impl Style {
    /// <https://no-color.org>: any value but the empty one says no.
    fn of(terminal: bool) -> Style {
        let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = said("TERM").is_some_and(|term| term == "dumb");
        Style { colours: terminal && !dumb && said("NO_COLOR").is_none() }
    }

    /// Text that stands out.
    pub fn bold(self, text: &str) -> String {
        self.paint("\x1b[1m", text)
    }

    /// Text that means trouble.
    pub fn red(self, text: &str) -> String {
        self.paint("\x1b[1;31m", text)
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colours { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns for a text on standard output.
pub fn width() -> usize {
    const USUAL: usize = 80;
    const READABLE: usize = 100;
    terminal_width().map_or(USUAL, |width| width.clamp(40, READABLE))
}

#[cfg(unix)]
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col))
}

/// WASI has no word for it.
#[cfg(not(unix))]
fn terminal_width() -> Option<usize> {
    None
}
