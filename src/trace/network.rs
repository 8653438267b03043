//! Which calls are about the network, and with whom.

use crate::vfs::Filetype;
use crate::wasi::Seen;

/// Whether a call is about the network: on a socket, or opening a name that dials.
pub(super) fn is_network(call: &Seen<'_>) -> bool {
    let fd = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
    let socket =
        |filetype: Filetype| matches!(filetype, Filetype::SocketDgram | Filetype::SocketStream);
    fd.is_some_and(|fd| socket(fd.filetype))
        || call.row.name == "path_open"
            && call.path("fd", "path").is_some_and(|path| network_name(&path).is_some())
}

/// What a path of a guest dials, as a rule of `--net` has it, or where it accepts.
pub(super) fn network_name(path: &str) -> Option<NetworkName> {
    let name = path.strip_prefix("/dev/").or(path.strip_prefix("dev/"))?;
    let colon = |text: &str| {
        text.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let two = |rest: &str| {
        let (host, port) = rest.split_once('/')?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Some(NetworkName::Dial(format!("{host}:{port}"))).filter(|_| port.parse::<u16>().is_ok())
    };
    match name.split_once('/') {
        Some(("tcp" | "udp", rest)) => two(rest),
        Some(("accept", rest)) if colon(rest) => Some(NetworkName::Accept(rest.to_owned())),
        None if colon(name) => Some(NetworkName::Dial(name.to_owned())),
        _ => None,
    }
}

/// What a network name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NetworkName {
    Dial(String),
    Accept(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_names() {
        let dial = |text: &str| Some(NetworkName::Dial(text.into()));
        assert_eq!(network_name("/dev/a.b:80"), dial("a.b:80"));
        assert_eq!(network_name("/dev/tcp/::1/80"), dial("[::1]:80"));
        assert_eq!(network_name("/dev/udp/a/53"), dial("a:53"));
        let accept = NetworkName::Accept("127.0.0.1:0".into());
        assert_eq!(network_name("/dev/accept/127.0.0.1:0"), Some(accept));
        for no in ["/dev/null", "/dev/tcp/a", "/data/a:80", "/dev/a:b", "/dev/fd/3"] {
            assert_eq!(network_name(no), None, "{no}");
        }
    }
}
