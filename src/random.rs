//! Randomness, as a value that a host can supply.

/// A guest's source of random bytes. A closure that fills a slice is one.
pub trait Random: Send {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the source has failed; the guest sees EIO.
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// A source that gives the same bytes for the same seed each time (SplitMix64): random
/// enough for a guest's hash tables, and for nothing secret.
///
/// ```
/// use tinyhost::{Random, seeded};
///
/// let (mut one, mut same) = ([0; 16], [0; 16]);
/// seeded(1997).fill(&mut one)?;
/// seeded(1997).fill(&mut same)?;
/// assert_eq!(one, same);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn seeded(seed: u64) -> impl Random + 'static {
    let mut state = seed;
    move |bytes: &mut [u8]| {
        for chunk in bytes.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

impl<F: FnMut(&mut [u8]) + Send> Random for F {
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self(bytes);
        Ok(())
    }
}

/// The randomness of the operating system.
#[cfg(feature = "os-random")]
pub struct SystemRandom;

#[cfg(feature = "os-random")]
impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(std::io::Error::other)
    }
}

/// What a guest has that was given no source of its own: rather an error than bytes that
/// are not random.
#[cfg(not(feature = "os-random"))]
struct NoRandom;

#[cfg(not(feature = "os-random"))]
impl Random for NoRandom {
    fn fill(&mut self, _bytes: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// The source of whoever was given none.
pub(crate) fn default_random() -> Box<dyn Random> {
    #[cfg(feature = "os-random")]
    return Box::new(SystemRandom);
    #[cfg(not(feature = "os-random"))]
    return Box::new(NoRandom);
}
