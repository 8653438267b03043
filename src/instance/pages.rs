//! Which pages of a guest's memory the kernel holds, and giving them back to it.
//!
//! With `allocator.rs` the only module with `unsafe`: calls to the kernel that no safe wrapper exists
//! for.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::process::{Pid, getpid};

use super::allocator;
use crate::program::growth::Paging;

/// Ranges of pages learnt in one call.
const REGIONS: usize = 64;

/// Huge pages make one touched byte cost 2 MiB of zeroing. Where one could lie within the
/// memory, the kernel is asked for none.
const HUGE_BYTES: usize = 2 << 20;

/// `struct page_region` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of linux/fs.h (ioctl PAGEMAP_SCAN, since Linux 6.7).
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: Opcode = opcode::read_write::<ScanArg>(b'f', 16);

struct Scan<'a>(&'a mut ScanArg);

// SAFETY: the number is PAGEMAP_SCAN's, whose argument is a `pm_scan_arg` that is read and
// written, and whose result is how many regions were written.
unsafe impl Ioctl for Scan<'_> {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        PAGEMAP_SCAN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(count: IoctlOutput, _arg: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(count).unwrap_or(0))
    }
}

/// A page of a file, which is not a private copy of one.
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
/// The kernel's page of zeros, there after a mere read.
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// How memories are grown in steps here.
pub(crate) const PAGING: Paging =
    Paging { steps: allocator::use_huge_pages, give_back, small_pages };

/// Gives back pages of a part of a memory that is zero, as far as the kernel takes them: it is zero
/// then as well. How many bytes from its beginning: without `all`, none of a huge page that is not
/// full yet.
fn give_back(memory: &mut [u8], all: bool) -> usize {
    let page = rustix::param::page_size();
    let mut whole = whole_pages(memory, page);
    if !all {
        let past = (memory.as_ptr().addr() + whole.end) % HUGE_BYTES;
        whole.end = whole.end.saturating_sub(past);
    }
    if whole.is_empty() {
        return 0;
    }
    let end = whole.end;
    let pages = &mut memory[whole];
    if discard(pages, page).is_err() {
        pages.fill(0);
    }
    end
}

/// Has the kernel use no huge pages for a memory, of which one touched byte would take all.
fn small_pages(pages: &mut [u8]) {
    if pages.len() >= HUGE_BYTES {
        no_huge_pages(pages);
    }
}

fn no_huge_pages(pages: &mut [u8]) {
    // SAFETY: advice about a range that is ours alone; it changes no byte. A kernel without huge
    // pages refuses, which is as good.
    let _ = unsafe { madvise(pages.as_mut_ptr().cast(), pages.len(), Advice::LinuxNoHugepage) };
}

/// The part of `memory` that is made of whole pages.
fn whole_pages(memory: &[u8], page: usize) -> Range<usize> {
    let start = memory.as_ptr().addr();
    let end = start + memory.len();
    let first = start.next_multiple_of(page);
    let last = end - end % page;
    if first < last { first - start..last - start } else { 0..0 }
}

/// Has whole pages of a memory be zero by giving them back.
///
/// # Errors
///
/// If the kernel refuses, or the memory turns out not to be anonymous (an allocator can take it
/// from a file); then what it holds is anything.
fn discard(pages: &mut [u8], page: usize) -> io::Result<()> {
    const MARK: u8 = 0xa5;
    let last = pages.len() - page;
    pages[last] = MARK;
    // SAFETY: `pages` is borrowed exclusively and consists of whole pages, so no other bytes are
    // concerned. They are read as zeros from then on (or, were it no anonymous memory, as what the
    // file holds): initialised bytes, as a u8 needs.
    unsafe { madvise(pages.as_mut_ptr().cast(), pages.len(), Advice::LinuxDontNeed) }?;
    if pages[last] == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Page faults of this process.
fn faults() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is what the call writes to, and has been written to if it succeeds.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    let of_kind = |count: libc::c_long| u64::try_from(count).ok();
    of_kind(usage.ru_minflt)?.checked_add(of_kind(usage.ru_majflt)?)
}

/// Whether [`faults`] sees one that is certain. Some emulated kernels count none.
fn counts_faults() -> bool {
    let page = rustix::param::page_size();
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let none = std::ptr::null_mut();
    // SAFETY: a new mapping, wherever the kernel has room.
    let Ok(fresh) = (unsafe { mmap_anonymous(none, page, access, MapFlags::PRIVATE) }) else {
        return false;
    };
    let before = faults();
    // SAFETY: the mapping is this long and can be written to. It is volatile as it is never read.
    unsafe { fresh.cast::<u8>().write_volatile(1) };
    let counted = before.is_some() && before < faults();
    // SAFETY: the mapping was made here, and no pointer to it is left.
    let _ = unsafe { munmap(fresh, page) };
    counted
}

/// This process's page table.
pub(crate) struct Pages {
    pagemap: OwnedFd,
    /// Whose it is: after a fork the descriptor still shows the parent's.
    process: Pid,
    page: usize,
    regions: Box<[PageRegion; REGIONS]>,
    /// What the last look found.
    touched: Vec<Range<usize>>,
    /// The kernel counts page faults as it should.
    counts_faults: bool,
}

impl Pages {
    /// `None` where the kernel is too old, or something forbids asking it.
    pub(crate) fn open() -> Option<Pages> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let pagemap = rustix::fs::openat(CWD, "/proc/self/pagemap", flags, Mode::empty()).ok()?;
        let mut pages = Pages {
            pagemap,
            process: getpid(),
            page: rustix::param::page_size(),
            regions: Box::new([PageRegion::default(); REGIONS]),
            touched: Vec::new(),
            counts_faults: counts_faults(),
        };
        // One try on what is certainly there shows whether the kernel knows the call.
        let probe = vec![1; pages.page * 2];
        let found: usize = pages.touched(&probe, false).ok()?.iter().map(Range::len).sum();
        (found == probe.len()).then_some(pages)
    }

    /// Page faults of this process so far, of all its threads. While this number stays the same, no
    /// page of any memory has become one that can be written to: each costs a fault, whether the
    /// process or a call of the kernel for it comes to it first. `None` if it can't be known.
    ///
    /// An exception would be a huge page that the kernel makes of small ones, some of which were not
    /// there. It makes none in a memory that has been [`release`](Pages::release)d.
    pub(crate) fn faults(&self) -> Option<u64> {
        if self.counts_faults && getpid() == self.process { faults() } else { None }
    }

    /// Every range of `memory` that may hold anything but zeros, given that it has been
    /// [`release`](Pages::release)d once. Of a memory that is mapped from a file, every range that
    /// may hold anything but what the file does.
    ///
    /// # Errors
    ///
    /// If the kernel can't be asked any more.
    pub(crate) fn touched(&mut self, memory: &[u8], in_file: bool) -> io::Result<&[Range<usize>]> {
        if getpid() != self.process {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let whole = whole_pages(memory, self.page);
        self.touched.clear();
        // What shares its page with something else is not known, so it counts as touched.
        let edges = [0..whole.start, whole.end..memory.len()];
        self.touched.extend(edges.into_iter().filter(|edge| !edge.is_empty()));
        let clear = if in_file { PAGE_IS_FILE } else { PAGE_IS_PFNZERO };
        let base = memory.as_ptr().addr();
        let mut from = whole.start;
        while from < whole.end {
            let walked = self.scan(base, from..whole.end, clear)?;
            from = walked.saturating_sub(base).max(from + self.page);
        }
        Ok(&self.touched)
    }

    /// One call of the kernel for a range of what begins at `base`, about pages that are not of the
    /// category `clear`; how far it came.
    fn scan(&mut self, base: usize, range: Range<usize>, clear: u64) -> io::Result<usize> {
        let mut arg = ScanArg {
            size: size_of::<ScanArg>() as u64,
            flags: 0,
            start: (base + range.start) as u64,
            end: (base + range.end) as u64,
            walk_end: 0,
            vec: self.regions.as_mut_ptr().expose_provenance() as u64,
            vec_len: REGIONS as u64,
            max_pages: 0,
            category_inverted: clear,
            category_mask: clear,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: PAGE_IS_PRESENT,
        };
        // SAFETY: what the kernel writes to is `arg` and, at most `REGIONS` of them,
        // `self.regions`: both borrowed exclusively here and made of plain numbers.
        let count = unsafe { ioctl(&self.pagemap, Scan(&mut arg)) }?;
        let within = |address: u64| {
            let at = usize::try_from(address).unwrap_or(usize::MAX).saturating_sub(base);
            at.clamp(range.start, range.end)
        };
        for region in self.regions.iter().take(count) {
            self.touched.push(within(region.start)..within(region.end));
        }
        Ok(usize::try_from(arg.walk_end).unwrap_or(usize::MAX))
    }

    /// Makes all of a `memory` that is mapped from a file what the file holds.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub(crate) fn drop_copies(&self, memory: &mut [u8]) -> io::Result<()> {
        // SAFETY: `memory` is borrowed exclusively and is whole pages, as a mapping is. They are
        // read as what the file holds from then on: initialised bytes.
        unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxDontNeed) }?;
        Ok(())
    }

    /// Makes all of `memory` zero by giving its pages back.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, or the memory turns out not to be anonymous (an allocator can
    /// take it from a file); then what it holds is anything.
    pub(crate) fn release(&self, memory: &mut [u8]) -> io::Result<()> {
        const MARK: u8 = 0xa5;
        let whole = whole_pages(memory, self.page);
        memory[..whole.start].fill(0);
        memory[whole.end..].fill(0);
        if whole.is_empty() {
            return Ok(());
        }
        let pages = &mut memory[whole];
        let last = pages.len() - self.page;
        pages[last] = MARK;
        // Also of a memory that is smaller than one: its neighbour may be the next memory, and both
        // together are large enough for the kernel to make one of what they have.
        no_huge_pages(pages);
        if allocator::take_pages(pages) && pages[last] == 0 {
            return Ok(());
        }
        discard(pages, self.page)
    }
}
