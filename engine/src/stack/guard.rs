//! Guard pages: how they are made, and how many the kernel can bear.
//!
//! Linux 6.13 marks pages as guards without splitting the mapping (`MADV_GUARD_INSTALL`): free in
//! any number. Older kernels and other systems need `mprotect`, which costs two more mappings per
//! guard, of which a process may have `vm.max_map_count`. So every slot gets one until half of that
//! is used up, and afterwards only the lowest slot of each slab.
//!
//! Invariant: `PROTECTED` counts the living guards made by `mprotect`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How a pool makes its guard pages.
///
/// ```
/// use eventlet::stack::Guards;
/// assert_eq!(Guards::default(), Guards::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guards {
    /// The best that the running kernel has.
    #[default]
    Auto,
    /// By `mprotect`, as on kernels before Linux 6.13, as long as the process has room for it.
    Protect,
    /// By `mprotect`, and only one per slab, as when there is no more room.
    Sparse,
}

/// What [`install`] has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    None,
    Marked,
    Protected,
}

/// Guards of this process that are mappings of their own.
static PROTECTED: AtomicUsize = AtomicUsize::new(0);

/// Makes the page at `start` a guard; `first` says that it is the lowest of its slab.
pub(super) fn install(start: *mut u8, page: usize, guards: Guards, first: bool) -> Made {
    if guards == Guards::Auto && mark(start, page) {
        return Made::Marked;
    }
    let room = guards != Guards::Sparse && PROTECTED.load(Relaxed) < budget();
    if !room && !first {
        return Made::None;
    }
    // SAFETY: the page belongs to a slot that nobody uses yet.
    let status = unsafe { libc::mprotect(start.cast(), page, libc::PROT_NONE) };
    if status != 0 {
        return Made::None;
    }
    PROTECTED.fetch_add(1, Relaxed);
    Made::Protected
}

/// Counts out guards whose mapping is gone.
pub(super) fn release(protected: usize) {
    PROTECTED.fetch_sub(protected, Relaxed);
}

/// Marks a page as guard without a mapping of its own; false if the kernel cannot.
#[cfg(target_os = "linux")]
fn mark(start: *mut u8, page: usize) -> bool {
    /// Linux 6.13, `include/uapi/asm-generic/mman-common.h`.
    const MADV_GUARD_INSTALL: libc::c_int = 102;
    // SAFETY: the page belongs to a slot that nobody uses yet; a kernel that does not know the
    // advice answers EINVAL and does nothing.
    unsafe { libc::madvise(start.cast(), page, MADV_GUARD_INSTALL) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn mark(_start: *mut u8, _page: usize) -> bool {
    false
}

/// How many guards may be mappings of their own: each splits one in three, and half are left alone.
fn budget() -> usize {
    static BUDGET: OnceLock<usize> = OnceLock::new();
    *BUDGET.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok())
            .unwrap_or(65_530)
            / 4
    })
}

/// Bytes in a page of memory.
pub(super) fn page_size() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: reads a constant of the system.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).unwrap_or(4096)
    })
}
