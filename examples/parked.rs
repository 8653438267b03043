//! What a parked guest costs: starts `parked PROGRAM.wasm COUNT` guests that all wait for their
//! standard input, and prints the resident memory of each. With the feature `recycle` a pool
//! gives back what a guest has not touched.

use tinyhost::vfs::pipe::{Writer, pipe};
use tinyhost::{Guest, Pool, Program, Step, WasiCtx};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = &words[..] else { return Err("parked PROGRAM.wasm COUNT".into()) };
    let program = Program::new(std::fs::read(path)?)?;
    let mut pool = Pool::new(&program);
    // The first one has the program translated, which all share.
    let _first = park(&mut pool)?;
    let (before, count) = (resident_kib()?, count.parse::<u64>()?);
    let parked = (0..count).map(|_| park(&mut pool)).collect::<Result<Vec<_>, _>>()?;
    println!("{} KiB a parked guest", (resident_kib()? - before) / count);
    drop(parked);
    Ok(())
}

/// A guest that waits for the other end of its stdin.
fn park(pool: &mut Pool) -> Result<(Guest, Writer), Box<dyn std::error::Error>> {
    let (stdin, feed) = pipe(4096);
    let mut guest = pool.spawn(WasiCtx::builder().stdin(stdin).build());
    match guest.step(u64::MAX) {
        Step::Parked => Ok((guest, feed)),
        step => Err(format!("it does not wait, it is {step:?}").into()),
    }
}

/// This process's, in KiB; Linux only.
fn resident_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
