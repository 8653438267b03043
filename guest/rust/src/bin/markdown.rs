//! Turns the CommonMark on stdin into HTML on stdout.
//!
//! Pins: a guest with a real library inside, that reads all of stdin before it answers.

use pulldown_cmark::{Options, Parser, html};
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;

    let mut page = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut page, Parser::new_ext(&text, Options::empty()));

    let mut output = io::stdout().lock();
    output.write_all(page.as_bytes())?;
    output.flush()
}
