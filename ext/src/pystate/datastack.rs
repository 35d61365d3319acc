//! The chunks that hold Python frames (CPython 3.11 and later).
//!
//! A greenlet's root chunk lies in its own stack mapping. CPython never frees it: it frees a chunk
//! when the frame at `data[0]` ends, and our first frame starts at `data[1]`, exactly as in the
//! root chunks that CPython makes. Chunks above it come from CPython's arena allocator.

use super::StackBounds;
use pyo3::ffi;
use std::mem::offset_of;
use std::os::raw::c_void;
use std::ptr;

/// `_PyStackChunk`: the header of a chunk; `data` goes on to the end of the chunk.
#[repr(C)]
pub(super) struct StackChunk {
    pub(super) previous: *mut StackChunk,
    pub(super) size: usize,
    pub(super) top: usize,
    pub(super) data: [*mut ffi::PyObject; 1],
}

/// `datastack_chunk`, `datastack_top` and `datastack_limit`, neighbours in every version.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DataStack {
    pub(super) chunk: *mut StackChunk,
    pub(super) top: *mut *mut ffi::PyObject,
    pub(super) limit: *mut *mut ffi::PyObject,
}

/// Positions in an interpreter frame, in words: the caller's frame, and the frame object (or null).
#[derive(Clone, Copy)]
pub(super) struct FrameWords {
    pub(super) previous: usize,
    pub(super) object: usize,
}

/// Whether all frames from `first` on lie on `stack` or in the chunks of `data`, which is this stack's, and none of
/// them has a frame object.
///
/// The entry frames that lie on the C stack itself never have one; their field is not set.
///
/// # Safety
/// * `first` is null or the first of a chain of frames that do not move meanwhile, and `words` is
///   where this version keeps them.
pub(super) unsafe fn are_private(
    first: *mut c_void,
    stack: &StackBounds,
    data: DataStack,
    words: FrameWords,
) -> bool {
    let low = stack.limit.addr();
    let c_stack = low..stack.top.addr();
    let end = stack.chunk.addr() + stack.chunk_len;
    let mut frame = first.cast::<*mut c_void>();
    while !frame.is_null() {
        let address = frame.addr();
        if !(low..end).contains(&address) && !data.contains(address) {
            return false;
        }
        // SAFETY: a frame on the stack or in a chunk of it, which are mapped.
        let object = unsafe { frame.wrapping_add(words.object).read() };
        if !c_stack.contains(&address) && !object.is_null() {
            return false;
        }
        // SAFETY: as above.
        frame = unsafe { frame.wrapping_add(words.previous).read() }.cast();
    }
    true
}

impl DataStack {
    /// No chunk: CPython makes a root chunk of its own at the next Python frame.
    pub(super) const EMPTY: DataStack = DataStack {
        chunk: ptr::null_mut(),
        top: ptr::null_mut(),
        limit: ptr::null_mut(),
    };

    /// An empty data stack whose root chunk is the memory that `stack` names.
    #[inline(always)]
    pub(super) fn preset(stack: &StackBounds) -> DataStack {
        let chunk = stack.chunk.cast::<StackChunk>();
        let header = StackChunk {
            previous: ptr::null_mut(),
            size: stack.chunk_len,
            top: 0,
            data: [ptr::null_mut()],
        };
        // SAFETY: StackBounds names writable memory, aligned and long enough for the header, that
        // nothing else uses while the greenlet lives; its maker keeps that.
        unsafe { chunk.write(header) };
        let first = stack
            .chunk
            .wrapping_add(offset_of!(StackChunk, data) + size_of::<usize>());
        let limit = stack.chunk.wrapping_add(stack.chunk_len);
        DataStack {
            chunk,
            top: first.cast(),
            limit: limit.cast(),
        }
    }

    /// Whether an address lies in one of the chunks.
    fn contains(self, address: usize) -> bool {
        let mut chunk = self.chunk;
        while !chunk.is_null() {
            // SAFETY: the chunks of a greenlet stay valid until they are freed, from the last one on.
            let header = unsafe { &*chunk };
            if (chunk.addr()..chunk.addr() + header.size).contains(&address) {
                return true;
            }
            chunk = header.previous;
        }
        false
    }

    /// Frees the chunks above the root chunk, which a finished greenlet can leave behind.
    #[inline(always)]
    pub(super) fn free_above_root(self) {
        if self.chunk.is_null() {
            return;
        }
        // SAFETY: chunks of the running thread stay valid until CPython or this function frees
        // them, and the GIL is held.
        let root = unsafe { (*self.chunk).previous }.is_null();
        if !root {
            self.free_chunks();
        }
    }

    #[cold]
    fn free_chunks(self) {
        let mut arena = ffi::PyObjectArenaAllocator {
            ctx: ptr::null_mut(),
            alloc: None,
            free: None,
        };
        // SAFETY: `arena` is a valid place for the result.
        unsafe { ffi::PyObject_GetArenaAllocator(&raw mut arena) };
        let mut chunk = self.chunk;
        loop {
            // SAFETY: `chunk` is a chunk of this data stack that has not been freed yet.
            let previous = unsafe { (*chunk).previous };
            if previous.is_null() {
                return;
            }
            // SAFETY: as above.
            let size = unsafe { (*chunk).size };
            if let Some(free) = arena.free {
                free(arena.ctx, chunk.cast(), size);
            }
            chunk = previous;
        }
    }
}
