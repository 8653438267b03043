//! The socket calls of other hosts, a row for each form.
//!
//! WasmEdge has added them to preview1, and wasi-go after it in other forms. Both use the names
//! that the specification has or could have had. So a name can have several rows, and the type of
//! the module's import says which of them it means.
//!
//! Sources: the crate `wasmedge_wasi_socket` 0.5, dispatchrun/net, and WasmEdge's `_v2` names.

use wasmi::{Caller, Linker, Module};

use super::super::enter::enter;
use super::super::syscall::{Kind, Param, Row, plain, work};
use super::super::table::{syscalls, wasm};
use super::super::{MODULE, WasiCtx};
use super::calls;

macro_rules! sockets {
    ($($own:ident = $name:ident ( $($param:ident : $kind:ident),* );)*) => {
        #[allow(non_camel_case_types, clippy::enum_variant_names)]
        enum Index { $($own,)* }

        /// The socket calls that other hosts have added to preview1. A name can have several rows,
        /// which differ in their types.
        pub static SOCKETS: &[Row] = &[$(
            syscalls!(@row calls, $own as $name ($($param : $kind),*) -> errno),
        )*];

        /// Adds the socket calls of other hosts that `module` imports, in the forms in which it
        /// imports them, to a linker that has preview1
        /// ([`add_to_linker`](crate::wasi::add_to_linker)). The `sock_accept` of WasmEdge, with two
        /// parameters, then replaces the standard one.
        ///
        /// The sockets of a guest are those of the network that is mounted for it
        /// ([`Dev::with_net`](crate::vfs::dev::Dev::with_net)), under the same rules.
        ///
        /// # Errors
        ///
        /// None of wasmi's: what is there already is replaced.
        pub fn add_sockets_to_linker<T: 'static>(
            linker: &mut Linker<T>,
            module: &Module,
            get: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
        ) -> Result<(), wasmi::Error> {
            linker.allow_shadowing(true);
            $(if SOCKETS[Index::$own as usize].is_imported_by(module) {
                syscalls!(
                    @link linker, get, SOCKETS, stringify!($name),
                    $own($($param: $kind),*) -> errno
                );
            })*
            linker.allow_shadowing(false);
            Ok(())
        }
    };
}

sockets! {
    sock_open = sock_open(family: U32, socktype: U32, result_fd: Out);
    sock_bind = sock_bind(fd: Fd, addr: Ptr, port: U32);
    sock_listen = sock_listen(fd: Fd, backlog: U32);
    sock_accept_v1 = sock_accept(fd: Fd, result_fd: Out);
    sock_connect = sock_connect(fd: Fd, addr: Ptr, port: U32);
    sock_recv_from_v1 = sock_recv_from(fd: Fd, ri_data: Iovs, ri_data_len: Size, addr: Ptr, ri_flags: U32, ro_datalen: Out, ro_flags: Out);
    sock_recv_from = sock_recv_from(fd: Fd, ri_data: Iovs, ri_data_len: Size, addr: Ptr, ri_flags: U32, port: Out, ro_datalen: Out, ro_flags: Out);
    sock_send_to = sock_send_to(fd: Fd, si_data: Ciovs, si_data_len: Size, addr: Ptr, port: U32, si_flags: U32, so_datalen: Out);
    sock_getaddrinfo = sock_getaddrinfo(node: Path, node_len: Size, service: Path, service_len: Size, hints: Ptr, res: Ptr, res_max: Size, res_len: Out);
    sock_getsockopt = sock_getsockopt(fd: Fd, level: U32, option: U32, value: Ptr, value_len: Ptr);
    sock_setsockopt = sock_setsockopt(fd: Fd, level: U32, option: U32, value: Ptr, value_len: Size);
    sock_getlocaladdr_v1 = sock_getlocaladdr(fd: Fd, addr: Ptr, addr_type: Out, port: Out);
    sock_getlocaladdr = sock_getlocaladdr(fd: Fd, addr: Ptr, port: Out);
    sock_getpeeraddr_v1 = sock_getpeeraddr(fd: Fd, addr: Ptr, addr_type: Out, port: Out);
    sock_getpeeraddr = sock_getpeeraddr(fd: Fd, addr: Ptr, port: Out);
    sock_open_v2 = sock_open_v2(family: U32, socktype: U32, result_fd: Out);
    sock_bind_v2 = sock_bind_v2(fd: Fd, addr: Ptr, port: U32);
    sock_listen_v2 = sock_listen_v2(fd: Fd, backlog: U32);
    sock_accept_v2 = sock_accept_v2(fd: Fd, flags: U32, result_fd: Out);
    sock_connect_v2 = sock_connect_v2(fd: Fd, addr: Ptr, port: U32);
    sock_recv_v2 = sock_recv_v2(fd: Fd, ri_data: Iovs, ri_data_len: Size, ri_flags: U32, ro_datalen: Out, ro_flags: Out);
    sock_recv_from_v2 = sock_recv_from_v2(fd: Fd, ri_data: Iovs, ri_data_len: Size, addr: Ptr, ri_flags: U32, port: Out, ro_datalen: Out, ro_flags: Out);
    sock_send_v2 = sock_send_v2(fd: Fd, si_data: Ciovs, si_data_len: Size, si_flags: U32, so_datalen: Out);
    sock_send_to_v2 = sock_send_to_v2(fd: Fd, si_data: Ciovs, si_data_len: Size, addr: Ptr, port: U32, si_flags: U32, so_datalen: Out);
    sock_getlocaladdr_v2 = sock_getlocaladdr_v2(fd: Fd, addr: Ptr, port: Out);
    sock_getpeeraddr_v2 = sock_getpeeraddr_v2(fd: Fd, addr: Ptr, port: Out);
}
