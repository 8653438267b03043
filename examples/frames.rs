//! A frame loop: guests get a budget of fuel per frame and never hold a frame up.
//!
//! One guest computes without end, one sleeps on the game's own clock, one waits for what
//! the player types. Prints what happened, frame by frame.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tinyhost::vfs::pipe::{Capture, pipe};
use tinyhost::{Group, Guest, ManualClock, Program, WasiCtx};

/// Fuel for all guests together in one frame: about two milliseconds.
const FUEL_PER_FRAME: u64 = 1_000_000;

const FRAME: Duration = Duration::from_millis(16);

fn main() -> Result<(), Box<dyn Error>> {
    let load = |name: &str| -> Result<Program, Box<dyn Error>> {
        Ok(Program::new(std::fs::read(format!("fixtures/{name}.wasm"))?)?)
    };
    let (spin, sleeper, replier) = (load("spin")?, load("sleeper")?, load("promptreply")?);
    let clock = Arc::new(ManualClock::new(0));
    let (stdin, mut keyboard) = pipe(64);
    let screen = Capture::new(4096);

    let mut guests = Group::new();
    let spinning = guests.spawn(Guest::new(&spin, WasiCtx::builder().build()));
    let cx = WasiCtx::builder().arg("sleeper")?.arg("100")?.clock(clock.clone());
    guests.spawn(Guest::new(&sleeper, cx.stdout(screen.clone()).build()));
    let cx = WasiCtx::builder().stdin(stdin).stdout(screen.clone());
    guests.spawn(Guest::new(&replier, cx.build()));

    for frame in 0..10 {
        if frame == 3 {
            keyboard.write(b"jump\n")?;
        }
        let turn = guests.turn(FUEL_PER_FRAME);
        assert!(turn.fuel_used <= FUEL_PER_FRAME * 2, "a frame was held up");
        for text in String::from_utf8(screen.take())?.lines() {
            println!("frame {frame}: {text}");
        }
        for (_, step, _) in turn.ended {
            println!("frame {frame}: {step:?}");
        }
        // Here a game draws, and waits for the next frame; this one's time is its own.
        clock.advance(FRAME);
    }
    let spinning = guests.cancel(spinning).ok_or("it never ends by itself")?;
    assert_eq!(guests.len(), 0);
    println!("the third one used all that was left: {}", spinning.fuel_used() > 5_000_000);
    drop(spinning); // which ends it
    Ok(())
}
