//! The host's resolver as a DNS server, for guests that resolve names themselves.
//!
//! Some libraries, Go's among them, ask a server by UDP: the one that `/etc/resolv.conf` names, or
//! without such a file 127.0.0.1:53. A datagram socket that sends there is answered by the host's
//! resolver, under the rules of `sock_getaddrinfo`, and what was looked up is remembered in the same
//! way. No datagram leaves the process.

mod message;

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Waker;

use super::Received;
use crate::vfs::net::policy::addr::Host;
use crate::vfs::net::quota::Taken;
use crate::vfs::net::resolve::Lookup;
use crate::vfs::net::{HostName, Net};
use crate::vfs::{Errno, Ready, Result};
use message::{Code, Parsed, Question};

const PORT: u16 = 53;

/// Bytes of the longest question that is looked at.
const QUESTION_MAX: usize = 1024;

/// Questions of a socket that are not answered yet, and answers that were not received. More are
/// lost, as datagrams are.
const WAITING_MAX: usize = 16;

/// What one socket has asked.
#[derive(Default)]
pub(super) struct Resolver {
    waiting: VecDeque<Asked>,
}

/// A question, or its answer.
struct Asked {
    state: State,
    /// The address to which it was sent.
    at: SocketAddr,
}

enum State {
    Looking { question: Question, name: HostName, lookup: Lookup, _in_flight: Taken },
    Answered(Vec<u8>),
}

impl Net {
    /// Whether datagrams to `at` are for the host's resolver. A rule for that address and port means a
    /// server of the operator's; one for all ports of this machine does not.
    pub(super) fn is_resolver(&self, at: SocketAddr) -> bool {
        let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        at.port() == PORT && here.contains(&at.ip()) && !self.policy().names_port(&at.into(), PORT)
    }
}

impl Resolver {
    /// Takes a datagram that was sent to `at`.
    pub fn ask(&mut self, net: &Net, bufs: &[IoSlice<'_>], at: SocketAddr) -> usize {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if len > QUESTION_MAX || self.waiting.len() >= WAITING_MAX {
            return len;
        }
        let datagram: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let state = match Question::parse(&datagram) {
            Parsed::Nothing => return len,
            Parsed::Answer(answer) => State::Answered(answer),
            Parsed::Question(question) => look_up(net, question),
        };
        self.waiting.push_back(Asked { state, at });
        len
    }

    /// Turns lookups that have ended into answers. Whether there is an answer.
    fn settle(&mut self, net: &Net) -> bool {
        for Asked { state, .. } in &mut self.waiting {
            let State::Looking { question, name, lookup, .. } = state else { continue };
            let Some(found) = lookup.answer() else { continue };
            let answer = match found.and_then(|found| net.found(name.clone(), &found)) {
                Ok(addresses) => question.answer(&addresses),
                Err(Errno::Hostunreach) => question.refused(Code::NoName),
                Err(_) => question.refused(Code::Failure),
            };
            *state = State::Answered(answer);
        }
        self.waiting.iter().any(|asked| matches!(asked.state, State::Answered(_)))
    }

    /// Receives an answer; EAGAIN if there is none.
    pub fn receive(
        &mut self,
        net: &Net,
        bufs: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> Result<Received> {
        self.settle(net);
        let mut waiting = self.waiting.iter().enumerate();
        let first = waiting.find_map(|(index, asked)| match &asked.state {
            State::Answered(answer) => Some((index, answer, asked.at)),
            State::Looking { .. } => None,
        });
        let (index, answer, from) = first.ok_or(Errno::Again)?;
        let count = (&**answer).read_vectored(bufs)?;
        let truncated = count < answer.len();
        if !peek {
            self.waiting.remove(index);
        }
        Ok(Received { count, from, truncated })
    }

    /// Whether an answer can be received.
    pub fn ready(&mut self, net: &Net) -> Result<Ready> {
        if self.settle(net) { Ok(Ready::default()) } else { Err(Errno::Again) }
    }

    /// Has the waker called once there is an answer. Whether there is one already.
    pub fn is_ready_or_wakes(&mut self, waker: &Waker) -> bool {
        let mut ready = false;
        for asked in &self.waiting {
            ready |= match &asked.state {
                State::Looking { lookup, .. } => lookup.is_done_or_wakes(waker),
                State::Answered(_) => true,
            };
        }
        ready
    }
}

fn look_up(net: &Net, question: Question) -> State {
    let refused = |code| State::Answered(question.refused(code));
    let Some(Host::Name(name)) = Host::parse(&question.name) else {
        return refused(Code::NoName);
    };
    if net.judge_lookup(&name).is_err() {
        return refused(Code::Refused);
    }
    let Ok(in_flight) = net.dials.take() else {
        return refused(Code::Failure);
    };
    let lookup = Lookup::begin(net.resolver(), name.as_str());
    State::Looking { question, name, lookup, _in_flight: in_flight }
}
