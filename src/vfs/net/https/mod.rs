//! `/dev/https/HOST[:PORT]`: one HTTP/1.1 request, to which the host adds what the guest must not
//! see.
//!
//! ```text
//! file.rs    the file: what a guest writes goes through a request
//! request.rs a request as it comes; it knows no file
//! head.rs    a whole head: checked, and written as it is sent
//! body.rs    where the body ends
//! secret.rs  a header that the host adds
//! ```
//!
//! A request that a server could read in another way than this code does is refused: what is checked
//! here has to be what is meant there.

mod body;
pub(super) mod file;
mod head;
mod request;
mod secret;

pub use secret::{Secret, SecretError};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub &'static str);
