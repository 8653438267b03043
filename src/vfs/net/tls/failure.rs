//! What goes wrong with TLS: the errno that a guest gets, and the line for its operator.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::session::Trouble;
use crate::vfs::Errno;

/// The errno of a read or write. What the protocol finds wrong is EIO, like an end that may have
/// been cut off: the guest can't know what else the other end meant to say.
pub(super) fn errno(trouble: Trouble) -> Errno {
    match trouble {
        Trouble::Wire(error) => error.into(),
        Trouble::Tls(error) if is_about_certificate(&error) => Errno::Acces,
        Trouble::Tls(_) | Trouble::Cut => Errno::Io,
    }
}

fn is_about_certificate(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(_) | Error::NoCertificatesPresented)
}

/// What is wrong, of a handshake that failed. `None` if the errno says it all.
pub(super) fn of_handshake(trouble: &Trouble) -> Option<String> {
    match trouble {
        Trouble::Wire(_) => None,
        Trouble::Cut => Some("the server hung up during the handshake".to_owned()),
        Trouble::Tls(error) => Some(of_tls(error)),
    }
}

/// What the protocol finds wrong.
pub(super) fn of_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => "the server has no certificate".to_owned(),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => no_version(),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => no_version(),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a client certificate, which a guest can't have".to_owned()
        }
        Error::AlertReceived(alert) => {
            format!("the server refuses: alert '{}'", alert.as_str().unwrap_or("unknown"))
        }
        Error::InvalidMessage(_) => format!("the server does not speak TLS: {error}"),
        error => error.to_string(),
    }
}

fn no_version() -> String {
    "the server speaks neither TLS 1.2 nor 1.3".to_owned()
}

fn of_certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => {
            "unknown issuer: no authority that is trusted has signed the certificate (trust one \
             with --tls-ca FILE)"
                .to_owned()
        }
        E::Expired => "the certificate has expired".to_owned(),
        E::ExpiredContext { time, not_after } => {
            let ago = days(time.as_secs().saturating_sub(not_after.as_secs()));
            format!("the certificate has expired ({ago} ago)")
        }
        E::NotValidYet => "the certificate is not yet valid".to_owned(),
        E::NotValidYetContext { time, not_before } => {
            let left = days(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("the certificate is not yet valid (in {left}; is the clock right?)")
        }
        E::NotValidForName => "the certificate is for another name".to_owned(),
        E::NotValidForNameContext { presented, .. } => match &presented[..] {
            [] => "the certificate is for no name".to_owned(),
            names => format!("the certificate is for another name ({})", listed(names)),
        },
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "wrong key usage: the certificate is not one of a server".to_owned()
        }
        E::Other(_) if error.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate is an authority's own, not a server's".to_owned()
        }
        error => format!("invalid certificate: {error}"),
    }
}

/// The key usage does not allow what the key is used for.
pub(super) const MAY_NOT_SIGN: &str =
    "wrong key usage: the certificate does not allow its key to sign";

/// The key is none of those that were pinned.
pub(super) const NOT_PINNED: &str =
    "the key of the certificate is not the one that --tls-pin names";

fn days(seconds: u64) -> String {
    match seconds / (24 * 60 * 60) {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// Names that a certificate has, as a server chose them.
const NAMES_MAX: usize = 3;

fn listed(names: &[String]) -> String {
    // The library has them as `DnsName("a.org")` and `IpAddress(127.0.0.1)`.
    let plain = |name: &String| {
        let inner = name.split_once('(').map_or(&name[..], |(_, rest)| rest.trim_end_matches(')'));
        let inner: String = inner.trim_matches('"').chars().take(64).collect();
        inner.escape_debug().to_string()
    };
    let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
    let first: Vec<_> = names.iter().take(NAMES_MAX).map(plain).collect();
    format!("{}{more}", first.join(", "))
}
