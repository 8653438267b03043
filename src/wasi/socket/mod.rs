//! The socket calls of other hosts: what of each dialect is different is decoded here, and what
//! they have in common is a verb of [`Endpoint`](crate::vfs::net::Endpoint).

mod address;
mod addrinfo;
mod calls;
mod connection;
mod datagram;
mod option;
mod table;

pub use table::{SOCKETS, add_sockets_to_linker};
