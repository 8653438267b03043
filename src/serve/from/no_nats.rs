//! In place of `nats` where tinyhost is built without it.

pub(crate) mod driver {
    use std::net::SocketAddr;
    use std::task::Waker;
    use std::time::Instant;

    use crate::serve::config::ServeConfig;
    use crate::serve::from::DriverTurn;
    use crate::serve::from::message::{Delivery, MessageEnd};

    /// There is none.
    pub(crate) enum NatsDriver {}

    impl NatsDriver {
        pub fn of(_config: &ServeConfig, _waker: Waker, _now: Instant) -> Option<NatsDriver> {
            None
        }

        pub fn ends(&self) -> (SocketAddr, SocketAddr) {
            match *self {}
        }

        pub fn on_event(&mut self, _readable: bool, _writable: bool) {
            match *self {}
        }

        pub fn on_alarm(&mut self) {
            match *self {}
        }

        pub fn next_alarm(&mut self) -> Option<Instant> {
            match *self {}
        }

        pub fn is_busy(&self) -> bool {
            match *self {}
        }

        pub fn is_over(&self) -> bool {
            match *self {}
        }

        pub fn advance(&mut self, _turn: &mut DriverTurn<'_>) {
            match *self {}
        }

        pub fn flush(&mut self, _turn: &mut DriverTurn<'_>) {
            match *self {}
        }

        pub fn next(&mut self, _now: Instant) -> Option<Delivery> {
            match *self {}
        }

        pub fn finished(&mut self, _message: &MessageEnd, _now: Instant) {
            match *self {}
        }

        pub fn drain(&mut self, _now: Instant) {
            match *self {}
        }
    }
}
