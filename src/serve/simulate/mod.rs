//! A server's connections under a simulator: the code that decides and the code that carries
//! out ([`advance`](super::conn::session::advance), the table, links and standard streams) are
//! those of the server. Sockets, guests and time are simulated, from one seed.
//!
//! A world has one protocol and clients that are slow, cut their lines anywhere, send ahead, read
//! nothing, reset or send on after the end. Some come by a proxy, whose header may be broken. Its
//! guests read and write in pieces, sleep, write too much and end at any moment in any way.
//! Connections are drained, programs replaced. What must hold is in [`model`]: each request is served
//! once and in order or there is a stated reason, no byte is lost or doubled, no wake is lost, times
//! hold, nothing is left.
//!
//! ```console
//! $ cargo test --lib serve::simulate                        # a million steps
//! $ TINYHOST_SEED=17 cargo test --lib serve::simulate       # one world, as a failure names it
//! $ TINYHOST_WORLDS=100000 cargo test --lib serve::simulate # for a night
//! ```

mod client;
mod guest;
mod model;
mod packets;
mod proxy;
mod wire;
mod world;

use world::World;

/// Steps of a world before it is drained.
const STEPS: u64 = 2_000;

/// Worlds of a usual run: a million steps.
const WORLDS: u64 = 500;

/// Random numbers (splitmix64): the same ones from the same seed on any machine.
pub(super) struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From 0 up to, but not including `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Below the one end, in so many cases of a hundred, or else below the usual one.
    fn mixed(&mut self, percent: usize, end: usize, usual: usize) -> usize {
        let end = if self.chance(percent) { end } else { usual };
        self.below(end)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Says which world it was if a check fails, or anything in it panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated world is repeated by: TINYHOST_SEED={}", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_happens_each_request_has_its_reply_or_a_reason() {
    let (first, count) = match number("TINYHOST_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("TINYHOST_WORLDS").unwrap_or(WORLDS)),
    };
    let mut seen = model::Seen::default();
    for seed in first..first + count {
        let _named = Named(seed);
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        world.finish(&mut seen);
    }
    eprintln!("{seen:?}");
    if count >= WORLDS {
        seen.is_everything();
    }
}

#[test]
fn a_seed_repeats_its_world() {
    let told = |seed| {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        let mut seen = model::Seen::default();
        world.finish(&mut seen);
        format!("{seen:?}")
    };
    for seed in 0..8 {
        assert_eq!(told(seed), told(seed));
    }
}
