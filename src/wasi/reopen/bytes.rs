//! What a guest had open, as bytes of a file.

use super::{Kept, KeptDescriptor, What};
use crate::vfs::Access;
use crate::wasi::abi::{Fdflags, Rights};
use crate::wasi::fd::FDS_MAX;

/// How a descriptor is found again, as a byte.
const STREAM: u8 = 0;
const PREOPEN: u8 = 1;
const PATH: u8 = 2;
const SAME: u8 = 3;

impl Kept {
    /// As bytes, which [`from_bytes`](Kept::from_bytes) reads.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for kept in &self.descriptors {
            out.extend_from_slice(&kept.number.to_le_bytes());
            out.extend_from_slice(&kept.offset.to_le_bytes());
            out.extend_from_slice(&kept.flags.bits().to_le_bytes());
            out.push(u8::from(kept.access.read) | u8::from(kept.access.write) << 1);
            out.extend_from_slice(&kept.base.bits().to_le_bytes());
            out.extend_from_slice(&kept.inheriting.bits().to_le_bytes());
            let (kind, number, text) = match &kept.what {
                What::Stream(number) => (STREAM, *number, ""),
                What::Same(number) => (SAME, *number, ""),
                What::Preopen(name) => (PREOPEN, 0, &**name),
                What::Path(path) => (PATH, 0, &**path),
            };
            out.push(kind);
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let number = if text.is_empty() { number } else { len };
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads what [`to_bytes`](Kept::to_bytes) has written. `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Kept> {
        let mut rest = Rest(bytes);
        let mut descriptors: Vec<KeptDescriptor> = Vec::new();
        while !rest.0.is_empty() {
            let kept = rest.descriptor()?;
            let before = descriptors.last().map(|before| before.number);
            let is_next = before.is_none_or(|before| before < kept.number);
            let is_known = match kept.what {
                What::Same(first) => descriptors.iter().any(|there| there.number == first),
                _ => true,
            };
            if !is_next || !is_known || kept.number as usize >= FDS_MAX {
                return None;
            }
            descriptors.push(kept);
        }
        Some(Kept { descriptors })
    }
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn descriptor(&mut self) -> Option<KeptDescriptor> {
        let number = u32::from_le_bytes(self.take()?);
        let offset = u64::from_le_bytes(self.take()?);
        let flags = Fdflags::truncate(u16::from_le_bytes(self.take()?));
        let [access] = self.take()?;
        let access = Access { read: access & 1 != 0, write: access & 2 != 0 };
        let base = Rights::truncate(u64::from_le_bytes(self.take()?));
        let inheriting = Rights::truncate(u64::from_le_bytes(self.take()?));
        let [kind] = self.take()?;
        let value = u32::from_le_bytes(self.take()?);
        let what = match kind {
            STREAM => What::Stream(value),
            SAME => What::Same(value),
            PREOPEN => What::Preopen(self.text(value)?),
            PATH => What::Path(self.text(value)?),
            _ => return None,
        };
        Some(KeptDescriptor { number, what, offset, flags, access, base, inheriting })
    }

    fn text(&mut self, len: u32) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(len as usize)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let kept = |number, what| KeptDescriptor {
            number,
            what,
            offset: 7,
            flags: Fdflags::APPEND,
            access: Access::READ,
            base: Rights::FILE,
            inheriting: Rights::NONE,
        };
        let descriptors = vec![
            kept(0, What::Stream(0)),
            kept(3, What::Preopen("/d".into())),
            kept(4, What::Path("/d/file".into())),
            kept(5, What::Same(4)),
        ];
        let all = Kept { descriptors };
        let bytes = all.to_bytes();
        assert_eq!(Kept::from_bytes(&bytes), Some(all));
        assert_eq!(Kept::from_bytes(b""), Some(Kept::default()));
        let whole: Vec<usize> =
            (0..bytes.len()).filter(|len| Kept::from_bytes(&bytes[..*len]).is_some()).collect();
        assert_eq!(whole.len(), 4, "only between two: {whole:?}");
        for bad in [
            vec![kept(1, What::Stream(0)), kept(1, What::Stream(1))],
            vec![kept(1, What::Same(0))],
            vec![kept(u32::MAX, What::Stream(0))],
        ] {
            assert_eq!(Kept::from_bytes(&Kept { descriptors: bad }.to_bytes()), None);
        }
    }
}
