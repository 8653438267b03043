//! `tinyhost pipe`: lines in, replies out, in order.

#![cfg(all(unix, feature = "serve"))]

mod util;

mod pipe_cli {
    mod failing;
    mod flow;
    mod forms;
    mod guest;
    mod typed;
    mod warm;
}
