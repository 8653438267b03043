//! The standard streams of a filter: files, pipes, sockets and terminals, also such that another
//! process has made non-blocking.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno as Os;
use tinyhost::pipe::PipeHandle;

use crate::cli::failure::{CliResult, Failure, plain};
use crate::cli::output::write_all;

/// Standard input.
pub struct PipeStdin(());

impl PipeStdin {
    /// Checks that there is one that can be read.
    ///
    /// # Errors
    ///
    /// If it can't.
    pub fn new() -> CliResult<PipeStdin> {
        let failed = |error: Os| {
            let error = plain(&error.into());
            Failure::not_started(format!(
                "can't read standard input: {error}: give it lines, such as with < FILE"
            ))
        };
        // A directory is found now, and what is not open.
        rustix::io::read(std::io::stdin(), &mut [0u8; 0]).map_err(failed)?;
        Ok(PipeStdin(()))
    }
}

impl Read for PipeStdin {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // Not through the standard library's buffer, which would hold back nothing but copy all.
        let stdin = io::stdin();
        loop {
            match rustix::io::read(&stdin, &mut *bytes) {
                Err(Os::AGAIN) => wait(&stdin, PollFlags::IN)?,
                other => return Ok(other?),
            }
        }
    }
}

/// Standard output.
pub struct PipeStdout;

impl Write for PipeStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(Raw(io::stdout()), bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output without the buffer that the standard library cuts at newlines.
struct Raw(io::Stdout);

impl AsFd for Raw {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wait(fd: &impl AsFd, wanted: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(fd, wanted)], None) {
        Ok(_) | Err(Os::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Stops the filter as soon as no reader of its output is left, also while nothing is written:
/// what reads has ended, or was killed.
pub fn stop_without_reader(handle: PipeHandle) {
    let watch = move || {
        let stdout = io::stdout();
        loop {
            // With no event asked for, what is reported is an error or a hangup.
            let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut fds, None) {
                Err(Os::INTR) => {}
                Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                    return handle.stop();
                }
                // A system that can't watch it: then the next write finds out.
                _ => return,
            }
        }
    };
    // Without the thread the next write finds out, too.
    let _ = std::thread::Builder::new().name("output".into()).spawn(watch);
}
