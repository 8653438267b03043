//! A guest's source of random bytes.

/// A source of random bytes for a guest. Implemented for closures that fill a slice.
pub trait Random: Send {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the source fails. The guest's call then fails with EIO.
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// A source that yields the same bytes for the same seed (SplitMix64). Good enough for a
/// guest's hash tables. Not for secrets: the bytes can be predicted.
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

/// The operating system's random bytes.
#[cfg(feature = "os-random")]
pub struct SystemRandom;

#[cfg(feature = "os-random")]
impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(std::io::Error::other)
    }
}

/// The default without the operating system's source. It fails, because bytes that are not
/// random would be worse than an error.
#[cfg(not(feature = "os-random"))]
struct NoRandom;

#[cfg(not(feature = "os-random"))]
impl Random for NoRandom {
    fn fill(&mut self, _bytes: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// The source of a guest whose context names none.
pub(crate) fn default_random() -> Box<dyn Random> {
    #[cfg(feature = "os-random")]
    return Box::new(SystemRandom);
    #[cfg(not(feature = "os-random"))]
    return Box::new(NoRandom);
}
