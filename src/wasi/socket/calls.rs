//! A function for each row.

pub(super) use super::super::sock::{
    sock_accept as sock_accept_v2, sock_recv as sock_recv_v2, sock_send as sock_send_v2,
};
use super::super::{Call, Sys, sock};
pub(super) use super::addrinfo::sock_getaddrinfo;
pub(super) use super::connection::{
    sock_bind, sock_bind as sock_bind_v2, sock_connect, sock_connect as sock_connect_v2,
    sock_getlocaladdr, sock_getlocaladdr as sock_getlocaladdr_v2, sock_getlocaladdr_v1,
    sock_getpeeraddr, sock_getpeeraddr as sock_getpeeraddr_v2, sock_getpeeraddr_v1, sock_listen,
    sock_listen as sock_listen_v2, sock_open, sock_open as sock_open_v2,
};
pub(super) use super::datagram::{
    sock_recv_from, sock_recv_from as sock_recv_from_v2, sock_recv_from_v1, sock_send_to,
    sock_send_to as sock_send_to_v2,
};
pub(super) use super::option::{sock_getsockopt, sock_setsockopt};

/// WasmEdge's form, without flags for the new descriptor.
pub(super) fn sock_accept_v1(c: &mut Call<'_>, fd: u32, result_fd: u32) -> Sys {
    sock::sock_accept(c, fd, 0, result_fd)
}
