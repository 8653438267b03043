//! Where guests' memories come from, for a process that makes many of them.
//!
//! A page of memory costs a fault when it is first touched, and the interpreter touches all
//! of a new memory to fill it with zeros: 272 faults for the 1 MiB of a common program,
//! which is far more than everything else about a guest. So the pages that have been filled
//! are taken from under a guest as soon as it is made (it finds pages of zeros in their
//! place as it goes) and used for the next one.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{
    Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap, mmap_anonymous, mremap, mremap_fixed,
    munmap,
};

/// Memories are multiples of a page of WebAssembly.
const PAGE: usize = 64 << 10;

/// What every page of the systems we run on is a divisor of.
const ALIGN_MAX: usize = 4096;

/// Mappings kept for the next memory, and bytes in all of them.
const KEPT: usize = 8;
const KEPT_BYTES: usize = 32 << 20;

/// An allocator for `#[global_allocator]`: the system's, except that what looks like the
/// memory of a guest gets a mapping of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct GuestAllocator;

/// Whether this process allocates here.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Whether the kernel has refused to take pages from under a memory.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Unused mappings whose pages are resident: address and length. What they hold is
/// whatever their last user left.
static KEPT_MAPPINGS: Mutex<[(usize, usize); KEPT]> = Mutex::new([(0, 0); KEPT]);

/// Whether a memory was ever mapped from a file.
static HAS_FILES: AtomicBool = AtomicBool::new(false);

/// Memories that begin with a mapping of a file: where, and how long that is. The nodes of this tree
/// are no memories, so to change it does not lead here again.
static FILES: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Memories that this thread makes larger are written to from end to end, and given back.
    static HUGE_PAGES: Cell<bool> = const { Cell::new(false) };
}

/// Whether memories that this thread makes larger are to have huge pages.
pub(super) fn use_huge_pages(wanted: bool) {
    HUGE_PAGES.set(wanted);
}

/// Asks for huge pages, if they are wanted.
fn advise(block: *mut u8, len: usize) {
    if HUGE_PAGES.get() && !block.is_null() {
        // SAFETY: advice about a mapping of this size; it changes no byte.
        let _ = unsafe { madvise(block.cast(), len, Advice::LinuxHugepage) };
    }
}

fn is_memory(layout: Layout) -> bool {
    let size = layout.size();
    let align = layout.align();
    size >= PAGE && size.is_multiple_of(PAGE) && align <= ALIGN_MAX
}

fn take(len: usize) -> Option<usize> {
    let mut kept = KEPT_MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = kept.iter_mut().find(|(_, there)| *there == len)?;
    Some(std::mem::take(slot).0)
}

/// Whether one more of this length is wanted: one is enough for the next guest.
fn has_room(len: usize) -> bool {
    let kept = KEPT_MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().all(|(_, there)| *there != len)
}

/// Whether there was room for it.
fn keep(address: usize, len: usize) -> bool {
    let mut kept = KEPT_MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes: usize = kept.iter().map(|(_, len)| len).sum();
    match kept.iter_mut().find(|(_, len)| *len == 0) {
        Some(slot) if bytes + len <= KEPT_BYTES => {
            *slot = (address, len);
            true
        }
        _ => false,
    }
}

fn map(len: usize, flags: MapFlags) -> *mut u8 {
    IN_USE.store(true, Ordering::Relaxed);
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, wherever the kernel has room: no other memory is touched.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), len, access, flags) };
    mapped.map_or(ptr::null_mut(), |address| address.cast())
}

/// Takes the pages from under `memory`, which is whole pages, to be used for another one:
/// it reads as zeros from then on. `false` if nothing was done.
pub(super) fn take_pages(memory: &mut [u8]) -> bool {
    let len = memory.len();
    let like_ours = len >= PAGE && len.is_multiple_of(PAGE);
    let possible = IN_USE.load(Ordering::Relaxed) && !REFUSED.load(Ordering::Relaxed);
    if !possible || !like_ours || !has_room(len) {
        return false;
    }
    let target = map(len, MapFlags::PRIVATE);
    if target.is_null() {
        return false;
    }
    let at: *mut c_void = memory.as_mut_ptr().cast();
    let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    // With DONTUNMAP the kernel looks at the new address even if it is to choose one itself,
    // and `mremap` passes none: the kernel reads what happens to be in that register. So this
    // passes an address.
    // SAFETY: `memory` is borrowed exclusively. Its address range stays mapped and reads as
    // zeros, as anonymous memory does that was not written to; its pages go where a mapping
    // was made for them just now. Linux before 5.7 and mappings of other kinds refuse.
    let Ok(moved) = (unsafe { mremap_fixed(at, len, len, flags, target.cast()) }) else {
        // Whether the target is mapped still is not known, so it can't be unmapped: it is
        // leaked, this once, without a page in it.
        REFUSED.store(true, Ordering::Relaxed);
        return false;
    };
    if !keep(moved.expose_provenance(), len) {
        // SAFETY: it was mapped just now and no pointer to it exists.
        let _ = unsafe { munmap(moved, len) };
    }
    true
}

/// Maps a file of the same length in place of `memory`. What is written to it stays its own.
/// `false` if nothing was done.
pub(super) fn map_file(memory: &mut [u8], file: BorrowedFd<'_>) -> bool {
    let len = memory.len();
    let at = memory.as_mut_ptr();
    let like_ours = len >= PAGE && len.is_multiple_of(PAGE) && at.addr().is_multiple_of(ALIGN_MAX);
    if !IN_USE.load(Ordering::Relaxed) || !like_ours {
        return false;
    }
    // Its pages are of use to the next one.
    take_pages(memory);
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: `memory` is borrowed exclusively and has a mapping of its own, of just this size.
    // The bytes that are read from then on are those of a sealed file, which never change.
    if unsafe { mmap(at.cast(), len, access, flags, file, 0) }.is_ok() {
        note_file(at.expose_provenance(), len);
        return true;
    }
    // The kernel may have removed what was there before it found that it can't.
    // SAFETY: as above; the bytes are zeros then.
    let _ = unsafe { mmap_anonymous(at.cast(), len, access, flags) };
    false
}

/// Notes that the memory there begins with a file of this length.
fn note_file(address: usize, len: usize) {
    HAS_FILES.store(true, Ordering::Relaxed);
    FILES.lock().unwrap_or_else(PoisonError::into_inner).insert(address, len);
}

/// Whether the memory there began with a file. It is about to be unmapped.
fn forget_file(address: usize) -> bool {
    HAS_FILES.load(Ordering::Relaxed)
        && FILES.lock().unwrap_or_else(PoisonError::into_inner).remove(&address).is_some()
}

/// How long the file is with which the memory there begins.
fn file_len(address: usize) -> Option<usize> {
    if !HAS_FILES.load(Ordering::Relaxed) {
        return None;
    }
    FILES.lock().unwrap_or_else(PoisonError::into_inner).get(&address).copied()
}

/// Makes a memory that begins with a file longer. What is added is no part of the file: the kernel
/// has nothing beyond its end.
///
/// # Safety
///
/// `block` is a memory of `old` bytes, of which the first `file` are mapped from one, and is the
/// caller's alone; `new` is not less.
unsafe fn extend_file(block: *mut u8, file: usize, old: usize, new: usize) -> *mut u8 {
    let target = map(new, MapFlags::PRIVATE);
    if target.is_null() {
        return target;
    }
    // Once it is moved, another thread may map a file at its old address.
    forget_file(block.addr());
    let flags = MremapFlags::MAYMOVE;
    // SAFETY: both are mappings, the one the caller's and the other made just now; the first is not
    // used any more.
    if unsafe { mremap_fixed(block.cast(), file, file, flags, target.cast()) }.is_err() {
        note_file(block.addr(), file);
        // SAFETY: nothing was moved there, and no other pointer to it exists.
        let _ = unsafe { munmap(target.cast(), new) };
        return ptr::null_mut();
    }
    let rest = old - file;
    if rest > 0 {
        // SAFETY: within the two; what is moved or copied is what is left of the old one.
        unsafe {
            let from = block.add(file);
            let to = target.add(file);
            if mremap_fixed(from.cast(), rest, rest, flags, to.cast()).is_err() {
                ptr::copy_nonoverlapping(from, to, rest);
                let _ = munmap(from.cast(), rest);
            }
        }
    }
    note_file(target.expose_provenance(), file);
    target
}

/// Gives back to the kernel what is kept here for the next guest, and whole pages that the
/// system's allocator has free: it releases only what lies at the end of
/// its heap, and what many guests free lies before what is in use. Takes milliseconds if it is
/// much, for which other threads may have to wait.
pub(crate) fn release_free_memory() {
    if !IN_USE.load(Ordering::Relaxed) {
        return;
    }
    let mut kept = KEPT_MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    for (address, len) in std::mem::take(&mut *kept).into_iter().filter(|(_, len)| *len > 0) {
        let at = ptr::with_exposed_provenance_mut(address);
        // SAFETY: a mapping of this size, to which no pointer exists any more.
        let _ = unsafe { munmap(at, len) };
    }
    drop(kept);
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            /// glibc's: any thread may call it any time (malloc_trim(3)).
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

impl GuestAllocator {
    /// Moves a block to a new one by copying it.
    ///
    /// # Safety
    ///
    /// As for `GlobalAlloc::realloc`, with the layout that is wanted.
    unsafe fn copy(&self, block: *mut u8, layout: Layout, wanted: Layout) -> *mut u8 {
        // SAFETY: two blocks that do not overlap, each with at least the smaller size; the old one
        // is freed only when the new one is there.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(wanted.size()));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

// SAFETY: what `is_memory` says of a layout never changes, so each block goes back to where
// it came from: a mapping of exactly its size, or the system's allocator. Mappings are
// aligned to pages.
unsafe impl GlobalAlloc for GuestAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_memory(layout) {
            // SAFETY: the caller's promises are the same.
            return unsafe { System.alloc(layout) };
        }
        match take(layout.size()) {
            Some(address) => ptr::with_exposed_provenance_mut(address),
            // It will be written to at once: all faults in one.
            None => map(layout.size(), MapFlags::PRIVATE | MapFlags::POPULATE),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_memory(layout) {
            map(layout.size(), MapFlags::PRIVATE)
        } else {
            // SAFETY: the caller's promises are the same.
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_memory(layout) {
            // SAFETY: the caller's promises are the same.
            unsafe { System.dealloc(block, layout) }
            return;
        }
        let address = block.expose_provenance();
        if forget_file(address) || !keep(address, layout.size()) {
            // SAFETY: it is a mapping of this size, and the caller is done with it. There is
            // no caller to report a failure to.
            let _ = unsafe { munmap(block.cast(), layout.size()) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let memories = is_memory(layout) && is_memory(wanted);
        let file = if memories { file_len(block.addr()) } else { None };
        match (memories, file) {
            (false, _) if !is_memory(layout) && !is_memory(wanted) => {
                // SAFETY: the caller's promises are the same.
                unsafe { System.realloc(block, layout, size) }
            }
            (true, None) => {
                // SAFETY: a mapping of this size that is the caller's alone.
                match unsafe { mremap(block.cast(), layout.size(), size, MremapFlags::MAYMOVE) } {
                    Ok(moved) => {
                        advise(moved.cast(), size);
                        moved.cast()
                    }
                    // The kernel does not move a mapping in one whose parts were advised
                    // differently (mremap(2), EFAULT).
                    // SAFETY: the caller's promises.
                    Err(_) => unsafe { self.copy(block, layout, wanted) },
                }
            }
            (true, Some(file)) if size >= layout.size() => {
                // SAFETY: what is known of the block, which is the caller's alone.
                unsafe { extend_file(block, file, layout.size(), size) }
            }
            // SAFETY: the caller's promises.
            _ => unsafe { self.copy(block, layout, wanted) },
        }
    }
}
