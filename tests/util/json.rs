//! As much of JSON as the fixtures' expectations and log records are written in.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    /// # Errors
    ///
    /// What is wrong, and what is left from there on.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut chars = text.chars().peekable();
        let parsed = value(&mut chars).and_then(|value| {
            blanks(&mut chars);
            if chars.peek().is_none() { Ok(value) } else { Err("more than one value") }
        });
        parsed.map_err(|what| format!("{what} at {:?}", chars.take(20).collect::<String>()))
    }

    pub fn field(&self, name: &str) -> Option<&Json> {
        let Json::Map(fields) = self else { return None };
        fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    pub fn number(&self) -> Option<f64> {
        if let Json::Number(number) = self { Some(*number) } else { None }
    }

    pub fn list(&self) -> Option<&[Json]> {
        if let Json::List(list) = self { Some(list) } else { None }
    }
}

type Source<'t> = Peekable<Chars<'t>>;
type Result<T, E = &'static str> = std::result::Result<T, E>;

fn blanks(chars: &mut Source<'_>) {
    while chars.next_if(char::is_ascii_whitespace).is_some() {}
}

fn value(chars: &mut Source<'_>) -> Result<Json> {
    blanks(chars);
    match chars.peek().copied() {
        Some('{') => {
            let pair = |chars: &mut Source<'_>| {
                let key = text(chars)?;
                blanks(chars);
                chars.next_if_eq(&':').ok_or("no colon")?;
                Ok((key, value(chars)?))
            };
            sequence(chars, '}', pair).map(Json::Map)
        }
        Some('[') => sequence(chars, ']', value).map(Json::List),
        Some('"') => text(chars).map(Json::Text),
        _ => word(chars),
    }
}

/// From one bracket to the other, with commas.
fn sequence<T>(
    chars: &mut Source<'_>,
    close: char,
    item: impl Fn(&mut Source<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    chars.next();
    blanks(chars);
    if chars.next_if_eq(&close).is_some() {
        return Ok(items);
    }
    loop {
        blanks(chars);
        items.push(item(chars)?);
        blanks(chars);
        match chars.next() {
            Some(',') => {}
            Some(end) if end == close => return Ok(items),
            _ => return Err("neither a comma nor a bracket"),
        }
    }
}

fn text(chars: &mut Source<'_>) -> Result<String> {
    chars.next_if_eq(&'"').ok_or("no text")?;
    let mut text = String::new();
    loop {
        text.push(match chars.next().ok_or("a text without end")? {
            '"' => return Ok(text),
            '\\' => match chars.next().ok_or("a text without end")? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).map_err(|_| "no hex digits")?;
                    char::from_u32(code).ok_or("half a character")?
                }
                plain @ ('"' | '\\' | '/') => plain,
                _ => return Err("an unknown escape"),
            },
            plain => plain,
        });
    }
}

fn word(chars: &mut Source<'_>) -> Result<Json> {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
        word.push(c);
    }
    match word.as_str() {
        "null" => Ok(Json::Null),
        "true" => Ok(Json::Bool(true)),
        "false" => Ok(Json::Bool(false)),
        number => number.parse().map(Json::Number).map_err(|_| "no value"),
    }
}
