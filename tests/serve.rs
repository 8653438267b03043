//! The line server in this process, with real guests and real sockets.

#![cfg(all(unix, feature = "serve"))]

#[path = "util/busy.rs"]
mod busy;
#[path = "serve/support.rs"]
mod support;
#[allow(dead_code, reason = "it is for other tests, too")]
#[path = "util/temp.rs"]
mod temp;

#[path = "serve/ahead.rs"]
mod ahead;
#[path = "serve/connections.rs"]
mod connections;
#[path = "serve/drain.rs"]
mod drain;
#[path = "serve/http.rs"]
mod http;
#[path = "serve/http_requests.rs"]
mod http_requests;
#[path = "serve/http_warm.rs"]
mod http_warm;
#[path = "serve/limits.rs"]
mod limits;
#[path = "serve/lines.rs"]
mod lines;
#[path = "serve/nats.rs"]
mod nats;
#[path = "serve/operations.rs"]
mod operations;
#[path = "serve/pages.rs"]
mod pages;
#[path = "serve/proxy.rs"]
mod proxy;
#[path = "serve/scgi.rs"]
mod scgi;
#[path = "serve/unix.rs"]
mod unix;
#[path = "serve/warm.rs"]
mod warm;
#[path = "serve/whole.rs"]
mod whole;
