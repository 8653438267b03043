//! Which calls are about the network, and with whom.

use crate::vfs::Filetype;
use crate::wasi::TracedCall;

/// Whether a call is about the network: on a socket, or opening a name that dials.
pub(super) fn is_network(call: &TracedCall<'_>) -> bool {
    let fd = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
    let socket =
        |filetype: Filetype| matches!(filetype, Filetype::SocketDgram | Filetype::SocketStream);
    fd.is_some_and(|fd| socket(fd.filetype))
        || call.row.name == "path_open"
            && call.path("fd", "path").is_some_and(|path| network_name(&path).is_some())
}

/// What a path of a guest dials, as a rule of `--net` has it, or where it accepts. Only what is
/// a host or an address by the grammar of names: `*` is neither, and would be a rule for all.
#[cfg(all(unix, feature = "net"))]
pub(super) fn network_name(path: &str) -> Option<NetworkName> {
    use crate::vfs::net::Host;
    let name = path.strip_prefix("/dev/").or(path.strip_prefix("dev/"))?;
    let port =
        |digits: &str| digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok());
    let at = |host: Option<Host>, digits: &str| {
        let port: u16 = port(digits)??;
        Some(format!("{}:{port}", host?))
    };
    let colon = |text: &str| {
        let (host, digits) = text.rsplit_once(':')?;
        at(Host::parse(host), digits)
    };
    match name.split_once('/') {
        Some(("tcp" | "udp", rest)) => {
            let (host, digits) = rest.split_once('/')?;
            at(Host::parse_alone(host), digits).map(NetworkName::Dial)
        }
        Some(("accept", rest)) => colon(rest).map(NetworkName::Accept),
        Some(_) => None,
        None => colon(name).map(NetworkName::Dial),
    }
}

/// There is no network whose names these could be.
#[cfg(not(all(unix, feature = "net")))]
pub(super) fn network_name(_path: &str) -> Option<NetworkName> {
    None
}

/// What a network name stands for.
#[cfg_attr(not(all(unix, feature = "net")), allow(dead_code, reason = "nothing makes one"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NetworkName {
    Dial(String),
    Accept(String),
}

#[cfg(all(test, unix, feature = "net"))]
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
        // What would be another rule, or two.
        for no in
            ["*:80", "*.a.org:80", "a:80-90", "a:*", "10.0.0.0/8:1", "a\nnet *:80", "a b:1", "a:+1"]
        {
            for path in [format!("/dev/{no}"), format!("/dev/accept/{no}")] {
                assert_eq!(network_name(&path), None, "{path}");
            }
        }
    }
}
