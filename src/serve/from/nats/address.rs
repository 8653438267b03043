//! Where messages come from: `nats://HOST:PORT/SUBJECT?queue=NAME`.

use std::fmt;

use crate::serve::percent;

/// The port that is taken if none is given.
const PORT: u16 = 4222;

/// Messages that may be under way at each worker.
const WINDOW: usize = 256;
const WINDOW_MAX: usize = 65_536;

/// Deliveries after which a message that fails is a dead letter.
const ATTEMPTS: u64 = 5;

/// Bytes of a subject or another name.
const NAME_MAX: usize = 255;

/// Where messages come from, and where their replies go.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is shown to the server.
    pub login: Option<NatsLogin>,
    /// The subject to subscribe to, which may have wildcards. With a stream: the subject that a
    /// consumer is made for if there is none; all of the stream, if it is empty.
    pub subject: String,
    /// Messages under way at each worker, at the most.
    pub window: usize,
    /// How messages are had.
    pub intake: NatsIntake,
}

/// How messages are had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsIntake {
    /// By a subscription: a message that comes while no server runs is lost. Of all that subscribe in
    /// the same queue group, one gets a message. Without one, each server does.
    Subscription {
        /// The queue group.
        queue: Option<String>,
    },
    /// From a stream of JetStream, by a pull consumer: a message is acknowledged when its reply is
    /// stored, and comes again if it is not.
    Stream {
        /// The name of the stream.
        stream: String,
        /// The name of the durable consumer, which is made if there is none.
        consumer: String,
        /// The subject that replies are stored under. If not set, there are none.
        to: Option<String>,
        /// The subject before that of a dead letter.
        dead: String,
        /// Deliveries after which a message that fails is a dead letter.
        attempts: u64,
    },
}

/// What is shown to a server.
#[derive(Clone, PartialEq, Eq)]
pub enum NatsLogin {
    /// A token.
    Token(String),
    /// A user's name and password.
    User(String, String),
}

impl NatsLogin {
    /// Reads `USER:PASSWORD`, or else a token.
    pub fn parse(text: &str) -> NatsLogin {
        match text.split_once(':') {
            Some((user, password)) => NatsLogin::User(user.into(), password.into()),
            None => NatsLogin::Token(text.into()),
        }
    }
}

impl NatsConfig {
    /// Reads `nats://[USER:PASSWORD@]HOST[:PORT]/SUBJECT[?queue=NAME]`, or one with
    /// `?stream=NAME&consumer=NAME` and, if wanted, `to=SUBJECT`, `dead=PREFIX`, `attempts=COUNT`, and in
    /// either case `window=COUNT`. Bytes can be written as `%XX`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to write. It has no word of a password.
    pub fn parse(text: &str) -> Result<NatsConfig, String> {
        let Some(rest) = text.strip_prefix("nats://") else {
            let scheme = text.split("://").next().unwrap_or_default();
            return Err(match scheme {
                "tls" => {
                    "TLS to a NATS server is not supported: write nats://, with a tunnel that \
                          speaks TLS (stunnel) if the server is on another machine"
                        .into()
                }
                _ => "write nats://HOST:PORT/SUBJECT?queue=NAME".into(),
            });
        };
        if rest.contains('#') {
            return Err("a # begins nothing here: write %23".into());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, subject) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(self::login(login)?), address),
            None => (None, authority),
        };
        let address = host_and_port(address).map_err(|why| match rest.contains('@') {
            // A password with a slash in it would be taken for an address.
            true => "the part before the subject is not [USER:PASSWORD@]HOST:PORT: write the bytes of a \
                     password that mean something in an address as %XX"
                .to_owned(),
            false => why,
        });
        let (host, port) = address?;
        let subject = decode(subject)?;
        let mut query = Query::parse(query)?;
        let window = query.count("window", WINDOW as u64, WINDOW_MAX as u64)?;
        let intake = intake(&mut query)?;
        query.finish()?;
        match &intake {
            NatsIntake::Stream { .. } if subject.is_empty() => {}
            _ => check_subject("the subject", &subject, true)?,
        }
        let window = usize::try_from(window).unwrap_or(WINDOW);
        Ok(NatsConfig { host, port, login, subject, window, intake })
    }
}

/// Without a password.
impl fmt::Display for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colons = self.host.contains(':');
        let (open, close) = if colons { ("[", "]") } else { ("", "") };
        write!(f, "nats://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/{} {:?}", self.subject, self.intake)
    }
}

fn login(text: &str) -> Result<NatsLogin, String> {
    // A password is never shown.
    let part =
        |part| decode(part).map_err(|_| "the user or the password has a broken %XX".to_owned());
    match text.split_once(':') {
        Some((user, password)) => Ok(NatsLogin::User(part(user)?, part(password)?)),
        None => Ok(NatsLogin::Token(part(text)?)),
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("'{text}' is not HOST:PORT: write an address as [::1]:4222 or a name");
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
        let port =
            if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || host.len() > NAME_MAX || !host.bytes().all(plain) {
        return Err(wrong());
    }
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn intake(query: &mut Query) -> Result<NatsIntake, String> {
    let Some(stream) = query.take("stream") else {
        for name in ["consumer", "to", "dead", "attempts"] {
            if query.take(name).is_some() {
                return Err(format!("{name}= needs stream=NAME"));
            }
        }
        let queue = query.take("queue");
        queue.iter().try_for_each(|queue| check_subject("queue=", queue, false))?;
        return Ok(NatsIntake::Subscription { queue });
    };
    if query.take("queue").is_some() {
        return Err(
            "queue= can't be combined with stream=: all that pull from one consumer share it"
                .into(),
        );
    }
    let Some(consumer) = query.take("consumer") else {
        return Err("stream= needs consumer=NAME".into());
    };
    check_name("stream=", &stream)?;
    check_name("consumer=", &consumer)?;
    let to = query.take("to");
    to.iter().try_for_each(|to| check_subject("to=", to, false))?;
    let dead = query.take("dead").unwrap_or_else(|| "DEAD".into());
    check_subject("dead=", &dead, false)?;
    let attempts = query.count("attempts", ATTEMPTS, u64::MAX)?;
    Ok(NatsIntake::Stream { stream, consumer, to, dead, attempts })
}

/// A name of JetStream, which is a token of subjects.
fn check_name(what: &str, name: &str) -> Result<(), String> {
    let wrong = |char: char| char.is_whitespace() || char.is_control() || ".*>/\\".contains(char);
    if name.is_empty() || name.len() > NAME_MAX || name.contains(wrong) {
        return Err(format!("{what}'{}' is not a name of JetStream", name.escape_debug()));
    }
    Ok(())
}

/// A subject: tokens between dots.
fn check_subject(what: &str, subject: &str, wildcards: bool) -> Result<(), String> {
    if subject.is_empty() {
        return Err(format!("{what} is missing: write nats://HOST:PORT/SUBJECT?queue=NAME"));
    }
    let tokens: Vec<&str> = subject.split('.').collect();
    let token = |(index, token): (usize, &&str)| match *token {
        "" => false,
        "*" => wildcards,
        ">" => wildcards && index + 1 == tokens.len(),
        token => !token.contains(|char: char| char.is_whitespace() || char.is_control()),
    };
    if subject.len() > NAME_MAX || !tokens.iter().enumerate().all(token) {
        let hint = if wildcards { "" } else { " without wildcards" };
        return Err(format!("{what} '{}' is not a subject{hint}", subject.escape_debug()));
    }
    Ok(())
}

/// `NAME=VALUE`, between `&`.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Result<Query, String> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for field in text.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            if fields.iter().any(|(known, _)| known == name) {
                return Err(format!("{name}= is there twice"));
            }
            fields.push((name.to_owned(), decode(value)?));
        }
        Ok(Query(fields))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A number from 1 on.
    fn count(&mut self, name: &str, usual: u64, max: u64) -> Result<u64, String> {
        let Some(text) = self.take(name) else { return Ok(usual) };
        let count = text.parse().ok().filter(|count| (1..=max).contains(count));
        count.ok_or_else(|| match max {
            u64::MAX => format!("{name}={text}: write a number from 1 on"),
            max => format!("{name}={text}: write a number from 1 to {max}"),
        })
    }

    fn finish(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "{}= is unknown: there are queue, stream, consumer, to, dead, attempts and window",
                name.escape_debug()
            )),
        }
    }
}

/// With what `%XX` stands for in its place.
fn decode(text: &str) -> Result<String, String> {
    let bytes = percent::decode(text)
        .ok_or_else(|| format!("'{text}' has a % without two digits: write %25"))?;
    String::from_utf8(bytes).map_err(|_| format!("'{text}' is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let config = NatsConfig::parse("nats://Example.com/in.*.>?queue=q&window=7").unwrap();
        assert_eq!((config.host.as_str(), config.port), ("example.com", 4222));
        assert_eq!((config.subject.as_str(), config.window), ("in.*.>", 7));
        assert_eq!(config.intake, NatsIntake::Subscription { queue: Some("q".into()) });
        let config =
            NatsConfig::parse("nats://u:p%40%3a@[::1]:5/?stream=S&consumer=C&to=o.x").unwrap();
        assert_eq!(config.to_string(), "nats://[::1]:5");
        assert!(config.login == Some(NatsLogin::User("u".into(), "p@:".into())));
        let NatsIntake::Stream { stream, to, dead, attempts, .. } = config.intake else { panic!() };
        assert_eq!(
            (stream.as_str(), to.as_deref(), dead.as_str(), attempts),
            ("S", Some("o.x"), "DEAD", 5)
        );
        let config = NatsConfig::parse("nats://token@h/s").unwrap();
        assert!(config.login == Some(NatsLogin::Token("token".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("http://h/s", "write nats://"),
            ("tls://h/s", "not supported"),
            ("nats://h", "the subject is missing"),
            ("nats://h/", "the subject is missing"),
            ("nats:///s", "not HOST:PORT"),
            ("nats://h:0/s", "not HOST:PORT"),
            ("nats://h:x/s", "not HOST:PORT"),
            ("nats://h:70000/s", "not HOST:PORT"),
            ("nats://::1/s", "not HOST:PORT"),
            ("nats://[::1/s", "not HOST:PORT"),
            ("nats://h/a..b", "not a subject"),
            ("nats://h/a b", "not a subject"),
            ("nats://h/a%0d%0aPUB", "not a subject"),
            ("nats://h/>.a", "not a subject"),
            ("nats://h/s?queue=a%20b", "not a subject"),
            ("nats://h/s?queue=", "queue= is missing"),
            ("nats://h/s?quue=a", "quue= is unknown"),
            ("nats://h/s?queue=a&queue=b", "twice"),
            ("nats://h/s?window=0", "from 1 to 65536"),
            ("nats://h/s?consumer=c", "needs stream"),
            ("nats://h/s?stream=c", "needs consumer"),
            ("nats://h/s?stream=a.b&consumer=c", "not a name"),
            ("nats://h/s?stream=a&consumer=c&queue=q", "can't be combined"),
            ("nats://h/s?stream=a&consumer=c&to=x.*", "without wildcards"),
            ("nats://h/s?stream=a&consumer=c&attempts=0", "from 1 on"),
            ("nats://h/%zz", "without two digits"),
            ("nats://h/%ff", "not UTF-8"),
            ("nats://h/s#x", "write %23"),
        ] {
            let error = NatsConfig::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        for text in ["nats://u:pw%zzpw@h/s", "nats://u:pw/pw@h/s", "nats://u:pw@h:x/s"] {
            let error = NatsConfig::parse(text).unwrap_err();
            assert!(!error.contains("pw"), "{error}");
        }
    }
}
