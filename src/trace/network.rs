//! Which calls are about the network, and with which peer.

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

/// What a path of a guest dials, as a rule of `--net` has it, or where it accepts.
#[cfg(all(unix, feature = "net"))]
pub(super) fn network_name(path: &str) -> Option<NetworkName> {
    use crate::vfs::net::NetworkName as Name;
    let name = path.strip_prefix("/dev/").or(path.strip_prefix("dev/"))?;
    Some(match Name::parse(name)? {
        Name::Dial(protocol, host, port) => NetworkName::Dial(format!("{protocol}{host}:{port}")),
        Name::Accept(at) => NetworkName::Accept(at.to_string()),
    })
}

/// There is no network whose names these could be.
#[cfg(not(all(unix, feature = "net")))]
pub(super) fn network_name(_path: &str) -> Option<NetworkName> {
    None
}

/// What a network name stands for, as rules have it.
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
    fn names_in_dev_are_written_as_rules() {
        let dial = |text: &str| Some(NetworkName::Dial(text.into()));
        assert_eq!(network_name("/dev/a.b:80"), dial("a.b:80"));
        assert_eq!(network_name("dev/tcp/::1/80"), dial("[::1]:80"));
        assert_eq!(network_name("/dev/tcp/fe80::1%eth0/80"), dial("[fe80::1%eth0]:80"));
        let accept = NetworkName::Accept("127.0.0.1:0".into());
        assert_eq!(network_name("/dev/accept/127.0.0.1:0"), Some(accept));
        assert_eq!(network_name("/data/a:80"), None);
    }
}
