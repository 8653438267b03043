//! A server with a certificate of the test's, and a client that trusts it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::busy::LIMIT;
use crate::tls_util::{Authority, Identity};
use crate::util::{Process, TempDir, tinyhost};

pub type Client = StreamOwned<ClientConnection, TcpStream>;

pub struct Server {
    pub process: Process,
    pub at: SocketAddr,
    pub metrics: SocketAddr,
    pub folder: TempDir,
    pub authority: Authority,
}

/// The address at the end of a line.
fn address(line: &str) -> SocketAddr {
    let last = line.rsplit(' ').next().unwrap();
    last.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap()
}

impl Server {
    /// With a new certificate, and options, in which DIR is its folder.
    pub fn start(options: &[&str]) -> Server {
        let (authority, folder) = (Authority::new("server"), TempDir::new());
        let server = authority.server();
        folder.file("cert.pem", server.pem.0.as_bytes());
        folder.file("key.pem", server.pem.1.as_bytes());
        Server::start_in(folder, authority, options)
    }

    pub fn start_in(folder: TempDir, authority: Authority, options: &[&str]) -> Server {
        let dir = folder.path().display().to_string();
        let words = [
            &["serve", "--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--workers", "1"][..],
            &["--tls-cert", "DIR/cert.pem", "--tls-key", "DIR/key.pem"],
            options,
        ];
        let words = words.concat();
        let process = Process::start(tinyhost(words.iter().map(|word| word.replace("DIR", &dir))));
        let at = address(&process.wait_for_line("listening on "));
        let metrics = address(&process.wait_for_line("metrics on "));
        Server { process, at, metrics, folder, authority }
    }

    pub fn connect(&self) -> Client {
        client(self.at, &self.authority, None)
    }

    /// A metric's number.
    pub fn metric(&self, name: &str) -> u64 {
        let mut status = TcpStream::connect(self.metrics).unwrap();
        status.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        status.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }
}

/// A client that trusts this authority, and has this certificate.
pub fn client(at: SocketAddr, authority: &Authority, own: Option<&Identity>) -> Client {
    let mut roots = RootCertStore::empty();
    let issuer = Identity::of_authority(authority).chain.remove(0);
    roots.add(issuer).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        Some(own) => config.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).unwrap(),
        None => config.with_no_client_auth(),
    };
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    StreamOwned::new(connection, stream)
}

/// Sends a line, and reads to the end.
pub fn ask(client: &mut Client, line: &str) -> std::io::Result<String> {
    client.write_all(line.as_bytes())?;
    let mut reply = String::new();
    client.read_to_string(&mut reply)?;
    Ok(reply)
}
