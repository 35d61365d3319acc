//! The scheduler of one OS thread: whose turn it is, and the switch to it.
//!
//! There is no scheduler flow. A green thread that parks takes the next ready one from the hub and
//! switches straight to it; if nobody is ready, it waits for timers and descriptors on its own stack.
//! A green thread that ends runs the next one on the same stack if that is fresh.
//!
//! Invariants: `current` is the flow that runs. No reference into the hub, the pool or a list of this
//! module is alive across a switch or a call of user code. A parked thread (`wake` is `Pending`) is
//! named at most once by a timer and once by a watch; a thread that was woken is named exactly once
//! by the hub's ready entries, besides the `stale` ones that come first and are skipped.

use super::block::{Killed, Task, UNREGISTERED, Wake, flag, swept};
use crate::clock::{Clock, Instant};
use crate::fiber::{self, Fiber};
use crate::hub::Hub;
use crate::inbox::Inbox;
use crate::reactor::{Interest, Token};
use crate::stack::{Memory, Parked as Found, Pool, Rest, Stack, Trimmer, WINDOW};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::io;
use std::panic;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::Duration;

/// Unused blocks that are kept for the next threads; more go back to the allocator.
const SPARE_BLOCKS: usize = 1 << 14;
/// How often the end of the runtime kills a thread that goes on after a kill before it gives up.
const KILL_ROUNDS: u32 = 64;
/// After which time a thread without a stack is tried again.
const RETRY: Duration = Duration::from_millis(10);

thread_local! {
    static CURRENT: Cell<*const Runtime> = const { Cell::new(ptr::null()) };
}

/// How a park ended.
#[derive(Clone, Copy)]
pub(super) struct Parked {
    pub(super) wake: Wake,
    /// A kill has to unwind the thread, once it has cleaned up.
    pub(super) dying: bool,
}

/// The green threads of one OS thread.
pub(crate) struct Runtime {
    current: Cell<Task>,
    main: Task,
    hub: UnsafeCell<Hub<Task>>,
    pool: UnsafeCell<Pool>,
    trimmer: UnsafeCell<Trimmer>,
    /// Every block that this runtime may reuse, used or not; a block knows its index.
    blocks: UnsafeCell<Vec<Task>>,
    spare: UnsafeCell<Vec<Task>>,
    /// Threads that have not ended, without the main one.
    live: Cell<usize>,
    /// Threads parked while unwinding; see [`Runtime::before_park`].
    masked: Cell<usize>,
    ending: Cell<bool>,
    next_id: Cell<u64>,
    /// Number of this runtime among all of the process, for sockets that outlive theirs.
    pub(super) serial: u64,
    /// Time jumps to the next deadline instead of passing.
    virtual_time: bool,
    /// Its other counts are the `Remote`s.
    pub(super) remotes: Arc<()>,
}

impl Runtime {
    /// A runtime whose main green thread is the calling flow; `serial` is unique in the process.
    pub(super) fn new(hub: Hub<Task>, pool: Pool, serial: u64, virtual_time: bool) -> Runtime {
        let main = Task::allocate();
        main.lower(flag::DONE);
        main.retain();
        Runtime {
            current: Cell::new(main),
            main,
            hub: UnsafeCell::new(hub),
            pool: UnsafeCell::new(pool),
            trimmer: UnsafeCell::new(Trimmer::new(WINDOW)),
            blocks: UnsafeCell::new(Vec::new()),
            spare: UnsafeCell::new(Vec::new()),
            live: Cell::new(0),
            masked: Cell::new(0),
            ending: Cell::new(false),
            next_id: Cell::new(1),
            serial,
            virtual_time,
            remotes: Arc::new(()),
        }
    }

    /// Makes this the runtime of the OS thread; it must not move until [`Runtime::dissolve`].
    pub(super) fn enter(&self) {
        CURRENT.set(self);
    }

    /// Undoes [`Runtime::enter`].
    fn leave(&self) {
        CURRENT.set(ptr::null());
    }

    /// The runtime of this OS thread, if it has one.
    #[inline(always)]
    pub(crate) fn try_current<'a>() -> Option<&'a Runtime> {
        // SAFETY: `enter` stored a runtime that stays in place until `leave` has cleared the word;
        // callers are green threads, which all end before that.
        unsafe { CURRENT.get().as_ref() }
    }

    /// The runtime of this OS thread.
    ///
    /// # Panics
    /// If it has none.
    #[inline(always)]
    pub(crate) fn current<'a>() -> &'a Runtime {
        match Runtime::try_current() {
            Some(runtime) => runtime,
            None => no_runtime(),
        }
    }

    /// Calls `act` with the hub, which must neither switch nor run user code.
    #[inline(always)]
    pub(crate) fn hub<R>(&self, act: impl FnOnce(&mut Hub<Task>) -> R) -> R {
        // SAFETY: one OS thread, and `act` cannot come back here: see the module's invariants.
        act(unsafe { &mut *self.hub.get() })
    }

    #[inline(always)]
    fn pool<R>(&self, act: impl FnOnce(&mut Pool) -> R) -> R {
        // SAFETY: as for the hub.
        act(unsafe { &mut *self.pool.get() })
    }

    #[inline(always)]
    fn blocks<R>(&self, act: impl FnOnce(&mut Vec<Task>) -> R) -> R {
        // SAFETY: as for the hub.
        act(unsafe { &mut *self.blocks.get() })
    }

    #[inline(always)]
    fn spare<R>(&self, act: impl FnOnce(&mut Vec<Task>) -> R) -> R {
        // SAFETY: as for the hub.
        act(unsafe { &mut *self.spare.get() })
    }

    /// The running green thread.
    #[inline(always)]
    pub(super) fn running(&self) -> Task {
        self.current.get()
    }

    /// The present time.
    pub(crate) fn now(&self) -> Instant {
        self.hub(|hub| hub.clock().now())
    }

    /// Whether `serial` names this runtime.
    #[inline(always)]
    pub(crate) fn is(&self, serial: u64) -> bool {
        self.serial == serial
    }

    /// What names this runtime among all of the process.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// The door for other OS threads.
    pub(super) fn inbox(&self) -> Arc<Inbox<Task>> {
        self.hub(|hub| hub.inbox())
    }

    // --- life of a green thread ---------------------------------------------------------------

    /// Makes a fresh green thread; it runs when the hub hands it out.
    #[inline]
    pub(super) fn spawn<F, R>(&self, after: Option<Instant>, body: F) -> Task
    where
        F: FnOnce() -> R + 'static,
        R: 'static,
    {
        let task = match self.spare(Vec::pop) {
            Some(task) => task,
            None => self.register(Task::allocate()),
        };
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        task.fill(id, true, body);
        self.live.set(self.live.get() + 1);
        match after {
            None => self.hub(|hub| hub.wake(task)),
            Some(deadline) => self.arm(task, deadline),
        }
        if self.ending.get() {
            self.kill(task);
        }
        task
    }

    #[cold]
    fn register(&self, task: Task) -> Task {
        task.owner.set(self);
        self.blocks(|blocks| {
            task.index.set(blocks.len());
            blocks.push(task);
        });
        task
    }

    /// Gets a fresh thread that the hub handed out ready to run on `stack`, or on one of the pool.
    ///
    /// Answers `false`, without the stack being used, if the thread ended instead.
    #[inline]
    fn begin(&self, task: Task, stack: &mut Option<Stack>) -> bool {
        task.lower(flag::TIMER);
        if task.index.get() == UNREGISTERED {
            self.admit(task);
        }
        if stack.is_none() {
            match self.pool(Pool::take) {
                Ok(taken) => *stack = Some(taken),
                Err(error) => {
                    self.refuse(task, &error);
                    return false;
                }
            }
        }
        task.lower(flag::FRESH);
        true
    }

    /// Deals with a fresh thread for which there is no stack.
    ///
    /// Its closure must not be dropped here, on the stack of a thread that is parking; the join
    /// handle does that. A thread that has no handle is tried again later.
    #[cold]
    fn refuse(&self, task: Task, error: &io::Error) {
        if task.observed.get() {
            task.set_no_stack(error);
            self.ended(task);
        } else {
            self.arm(task, self.now().saturating_add(RETRY));
        }
    }

    /// Takes a thread in that another OS thread spawned; at the end of the runtime, only to drop it.
    #[cold]
    fn admit(&self, task: Task) {
        self.register(task);
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        task.id.set(id);
        self.live.set(self.live.get() + 1);
        if self.ending.get() {
            task.raise(flag::KILL);
        }
    }

    /// Tells whoever waits that `task` is done, and drops the scheduler's reference.
    #[inline]
    fn ended(&self, task: Task) {
        self.live.set(self.live.get() - 1);
        if let Some(joiner) = task.joiner.take() {
            self.unpark(joiner, Wake::Woken);
        }
        if self.ending.get() && self.live.get() == 0 {
            self.unpark(self.main, Wake::Woken);
        }
        task.retired.set(true);
        if !task.has(flag::STALE) {
            self.release(task);
        }
    }

    /// Drops a reference to the block of `task`.
    #[inline]
    fn release(&self, task: Task) {
        if task.release() {
            self.recycle(task);
        }
    }

    /// Keeps the block for the next thread, or frees it.
    #[inline]
    pub(super) fn recycle(&self, task: Task) {
        let kept = self.spare(|spare| {
            let room = spare.len() < SPARE_BLOCKS;
            if room {
                spare.push(task);
            }
            room
        });
        if !kept {
            self.unregister(task);
        }
    }

    #[cold]
    fn unregister(&self, task: Task) {
        self.blocks(|blocks| {
            let index = task.index.get();
            blocks.swap_remove(index);
            if let Some(moved) = blocks.get(index) {
                moved.index.set(index);
            }
        });
        // SAFETY: no reference is left (`recycle`), and the registry has just forgotten the block.
        unsafe { task.free() };
    }

    /// Has `task` unwound, or dropped if it is fresh.
    ///
    /// *May switch: no*, but a thread that kills itself does not come back.
    pub(super) fn kill(&self, task: Task) {
        if task.is_done() {
            return;
        }
        if task.has(flag::FRESH) {
            let queued = task.lower(flag::TIMER) == 0 || !self.disarm_timer(task);
            task.add_stale(u32::from(queued));
            task.drop_closure();
            self.ended(task);
            return;
        }
        task.raise(flag::KILL);
        if task == self.running() {
            if !thread::panicking() {
                self.die(task);
            }
        } else if !task.has(flag::MASKED) {
            self.unpark(task, Wake::Killed);
        }
    }

    /// Unwinds the running thread because of a kill.
    #[cold]
    pub(super) fn die(&self, me: Task) -> ! {
        me.lower(flag::KILL);
        panic::resume_unwind(Box::new(Killed))
    }

    // --- parking ------------------------------------------------------------------------------

    /// Comes first in every park: answers the running thread; a kill that waits unwinds it here.
    ///
    /// A thread that parks in a destructor while it unwinds is *masked*: unwinding it again would
    /// abort the process, so a kill waits until it parks elsewhere. The standard library only tells
    /// whether *some* flow of the OS thread unwinds; so the mask may be wrong, on the safe side, and
    /// is taken away as soon as none does.
    #[inline]
    pub(super) fn before_park(&self) -> Task {
        let me = self.running();
        let unwinding = thread::panicking();
        if unwinding || self.masked.get() != 0 || me.has(flag::KILL) {
            self.before_park_slow(me, unwinding);
        }
        me
    }

    #[cold]
    #[inline(never)]
    fn before_park_slow(&self, me: Task, unwinding: bool) {
        if unwinding {
            me.raise(flag::MASKED);
            self.masked.set(self.masked.get() + 1);
            return;
        }
        self.unmask();
        if me.has(flag::KILL) {
            self.die(me);
        }
    }

    /// Delivers the kills that waited for an unwinding that is over.
    #[cold]
    fn unmask(&self) {
        let mut index = 0;
        let mut next = Some(self.main); // which is in no list
        while let Some(task) = next {
            if task.has(flag::MASKED) && task.wake.get() == Wake::Pending {
                task.lower(flag::MASKED);
                self.masked.set(self.masked.get() - 1);
                if task.has(flag::KILL) {
                    self.unpark(task, Wake::Killed);
                }
            }
            next = self.blocks(|blocks| blocks.get(index).copied());
            index += 1;
        }
    }

    /// Undoes [`Runtime::before_park`] for a thread that need not park after all.
    #[inline]
    pub(super) fn not_parked(&self, me: Task) {
        if me.lower(flag::MASKED) != 0 {
            self.masked.set(self.masked.get() - 1);
        }
    }

    /// Suspends the running thread until [`Runtime::unpark`] or `deadline`; answers which.
    ///
    /// The caller has called [`Runtime::before_park`], has put `me` where a waker finds it, and ends
    /// with [`Runtime::after_park`] once it has taken it out again.
    #[inline(always)]
    pub(super) fn park(&self, me: Task, deadline: Option<Instant>) -> Parked {
        me.wake.set(Wake::Pending);
        me.swept.set(swept::NOT);
        if let Some(deadline) = deadline {
            self.arm(me, deadline);
        }
        self.switch_away(me);
        let wake = if me.has(flag::TIMER | flag::WATCH | flag::MASKED | flag::KILL) {
            return self.settle(me);
        } else {
            me.wake.get()
        };
        Parked { wake, dying: false }
    }

    /// Raises what a park must raise: a kill, or the news that nothing can wake the main thread.
    #[inline]
    pub(super) fn after_park(&self, me: Task, parked: Parked) {
        if parked.dying {
            self.die(me);
        }
        if parked.wake == Wake::Deadlock {
            deadlocked();
        }
    }

    /// Parks until the descriptor of `token` may be ready for `interest`, or `deadline`.
    pub(crate) fn park_io(
        &self,
        token: Token,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> Wake {
        let me = self.before_park();
        let key = self.hub(|hub| hub.watch_token(token, interest, me));
        me.watch.set(Some(key));
        me.raise(flag::WATCH);
        let parked = self.park(me, deadline);
        self.after_park(me, parked);
        parked.wake
    }

    /// Lets everybody go who waits for the descriptor of `token`, and forgets it.
    pub(crate) fn release_io(&self, token: Token) {
        // They come out as if the descriptor were ready, and find it closed.
        self.hub(|hub| hub.release(token));
    }

    /// Makes the parked `task` ready because of `wake`; `false` if it is not parked any more.
    #[inline]
    pub(super) fn unpark(&self, task: Task, wake: Wake) -> bool {
        if task.wake.get() != Wake::Pending {
            return false;
        }
        task.wake.set(wake);
        if task.has(flag::TIMER | flag::WATCH) {
            self.unpark_armed(task);
        } else {
            self.hub(|hub| hub.wake(task));
        }
        true
    }

    /// The rest of `unpark` for a thread that a timer or a watch names.
    fn unpark_armed(&self, task: Task) {
        match self.disarm(task) {
            0 => self.hub(|hub| hub.wake(task)),
            // What fired is already on its way in the present batch and will carry the news.
            fired => task.add_stale(fired.count_ones() - 1),
        }
    }

    /// Removes what names `task`; answers which of it had fired already.
    fn disarm(&self, task: Task) -> u8 {
        let sources = task.lower(flag::TIMER | flag::WATCH);
        let timer = sources & flag::TIMER != 0 && !self.disarm_timer(task);
        let watch = sources & flag::WATCH != 0 && !self.disarm_watch(task);
        (u8::from(timer) * flag::TIMER) | (u8::from(watch) * flag::WATCH)
    }

    /// The rest of `park` for a thread that was not simply woken: finds out what has happened.
    #[inline(never)]
    fn settle(&self, me: Task) -> Parked {
        if me.has(flag::TIMER | flag::WATCH) {
            // Nobody woke it by name. At least one source has fired.
            let fired = self.disarm(me);
            me.add_stale(fired.count_ones().saturating_sub(1));
            let ready = fired & flag::WATCH != 0;
            me.wake
                .set(if ready { Wake::Ready } else { Wake::TimedOut });
        }
        let masked = me.has(flag::MASKED);
        self.not_parked(me);
        Parked {
            wake: me.wake.get(),
            dying: me.has(flag::KILL) && !masked,
        }
    }

    fn arm(&self, task: Task, deadline: Instant) {
        let key = self.hub(|hub| hub.at(deadline, task));
        task.timer.set(Some(key));
        task.raise(flag::TIMER);
    }

    /// Takes the timer away; `false` if it has fired.
    fn disarm_timer(&self, task: Task) -> bool {
        task.timer
            .take()
            .is_some_and(|key| self.hub(|hub| hub.cancel(key)).is_some())
    }

    /// Takes the watch away; `false` if it has fired.
    fn disarm_watch(&self, task: Task) -> bool {
        task.watch
            .take()
            .is_some_and(|key| self.hub(|hub| hub.unwatch(key)).is_some())
    }

    /// Lets every other ready thread run before the calling one goes on.
    #[inline]
    pub(super) fn yield_now(&self) {
        let me = self.running();
        self.hub(|hub| hub.wake(me));
        self.switch_away(me);
        if me.has(flag::KILL) && !thread::panicking() {
            self.die(me);
        }
    }

    // --- switching ----------------------------------------------------------------------------

    /// Passes over an entry that was overtaken by another way to wake the thread.
    #[cold]
    #[inline(never)]
    fn skip(&self, task: Task) {
        if task.take_stale() && task.retired.get() {
            self.release(task);
        }
    }

    /// Has the processor load what the next switches will touch: with many threads, they miss.
    #[inline(always)]
    fn fetch_ahead(&self) {
        self.hub(|hub| {
            if let Some(&second) = hub.upcoming(1) {
                prefetch(second.address().cast());
                if let Some(&first) = hub.upcoming(0) {
                    prefetch(first.fiber.stack_pointer());
                }
            }
        });
    }

    /// Gives the OS thread to the next ready green thread; returns when it is `me` again.
    #[inline(always)]
    fn switch_away(&self, me: Task) {
        let next = loop {
            match self.hub(Hub::next) {
                Some(task) if !task.has(flag::STALE | flag::FRESH) => break task,
                Some(task) if task.has(flag::STALE) => self.skip(task),
                Some(task) => {
                    if self.prepare(task) {
                        break task;
                    }
                }
                None => self.wait(),
            }
        };
        if next == me {
            return;
        }
        self.current.set(next);
        self.fetch_ahead();
        // SAFETY: `me` runs on this flow; `next` was suspended here or has just been prepared, and
        // its stack is kept by its block. No borrow of the runtime is alive. Rust code runs under
        // the default floating-point control words, so that they need not be exchanged.
        unsafe { fiber::switch_plain(&raw const me.fiber, &raw const next.fiber) };
    }

    /// Gives a fresh thread a stack with its first frame; `false` if it ended instead.
    #[inline(never)]
    fn prepare(&self, task: Task) -> bool {
        let mut stack = None;
        if !self.begin(task, &mut stack) {
            return false;
        }
        let top = stack.as_ref().expect("begin leaves a stack").top();
        task.swap_stack(stack);
        let runtime: *const Runtime = self;
        // SAFETY: the stack has just been taken from the pool, is 16-aligned at its top and is kept
        // by the block until the flow has departed; `root` catches every panic.
        let fiber = unsafe { Fiber::new(top, root, runtime.cast_mut().cast::<c_void>()) };
        // SAFETY: nobody else uses the fiber of a thread that has not started.
        unsafe { (&raw const task.fiber).cast_mut().write(fiber) };
        true
    }

    /// Waits for timers, descriptors and other OS threads, and takes in what happened.
    #[cold]
    fn wait(&self) {
        let (ready, timers, watched) =
            self.hub(|hub| (hub.ready_len(), hub.timers_len(), hub.waiting_len()));
        if ready == 0 && timers == 0 && watched == 0 && Arc::strong_count(&self.remotes) == 1 {
            // Mail that the last `Remote` sent before it was dropped still counts.
            fence(Ordering::Acquire);
            if self.poll(false) == 0 && !self.unpark(self.main, Wake::Deadlock) {
                panic!("no green thread is ready, none waits: the runtime has lost one");
            }
            return;
        }
        if self.virtual_time && ready == 0 && timers > 0 {
            if watched > 0 && self.poll(true) > 0 {
                return;
            }
            self.jump();
        }
        self.poll(true);
    }

    /// One wait of the hub; answers how many entries are ready then.
    fn poll(&self, block: bool) -> usize {
        let mut wait = self.hub(Hub::begin_wait);
        if block && wait.would_block() && !self.virtual_time {
            match self.trim() {
                Rest::None => wait.limit(Duration::ZERO),
                Rest::Short(at_most) => wait.limit(at_most),
                Rest::Long => {}
            }
        }
        let result = if block { wait.block() } else { wait.poll_now() };
        match self.hub(|hub| hub.end_wait(wait, result)) {
            Ok(()) => self.hub(|hub| hub.ready_len()),
            Err(error) => panic!("the kernel's readiness interface failed: {error}"),
        }
    }

    /// Stacks that were not needed for a while give a portion of their memory back.
    fn trim(&self) -> Rest {
        // SAFETY: as for the hub: nothing that is called here comes back.
        let trimmer = unsafe { &mut *self.trimmer.get() };
        trimmer.rest(self.now(), &mut Stacks(self))
    }

    /// Moves a clock that stands still to the next deadline.
    fn jump(&self) {
        self.hub(|hub| {
            if let Some(deadline) = hub.next_deadline() {
                let clock: &Clock = hub.clock();
                if deadline > clock.now() {
                    clock.set(deadline);
                }
            }
        });
    }

    // --- the end ------------------------------------------------------------------------------

    /// Kills every green thread and waits until all have ended; called by the main one.
    ///
    /// A thread that goes on although it was killed is abandoned with its stack; answers how many.
    pub(super) fn finish(&self) -> usize {
        let main = self.main;
        self.ending.set(true);
        let mut rounds = 0;
        while self.live.get() > 0 {
            main.lower(flag::KILL);
            if rounds < KILL_ROUNDS {
                self.kill_all();
                self.hub(|hub| hub.wake(main));
                self.switch_away(main);
                rounds += 1;
            } else if self.masked.get() > 0 {
                // Destructors that wait: they may take the time they need.
                let me = self.before_park();
                let retry = self.now().saturating_add(RETRY);
                if self.park(me, Some(retry)).wake == Wake::Deadlock {
                    break;
                }
                rounds = KILL_ROUNDS - 1;
            } else {
                break;
            }
        }
        main.lower(flag::KILL);
        self.live.get()
    }

    fn kill_all(&self) {
        let mut index = 0;
        while let Some(task) = self.blocks(|blocks| blocks.get(index).copied()) {
            self.kill(task);
            index += 1;
        }
    }

    /// Refuses further mail and drops what has not been admitted; gives the blocks to their handles.
    pub(super) fn dissolve(&self) {
        let mut left = Vec::new();
        self.inbox().close(&mut left);
        left.extend(self.hub(Hub::drain));
        for task in left {
            if task.has(flag::STALE) {
                self.skip(task);
            } else if task.index.get() == UNREGISTERED && task != self.main {
                discard_remote(task);
            }
        }
        for task in self.blocks(std::mem::take) {
            task.owner.set(ptr::null());
            task.index.set(UNREGISTERED);
            if task.is_done() && task.unreferenced() {
                // SAFETY: nobody refers to the block, and the registry has just been emptied.
                unsafe { task.free() };
            }
        }
        self.leave();
        self.main.raise(flag::DONE);
        if self.main.release() {
            // SAFETY: the main thread's block was never registered and nobody refers to it.
            unsafe { self.main.free() };
        }
    }
}

/// The stacks of a runtime, as the trimmer sees them.
struct Stacks<'a>(&'a Runtime);

impl Memory for Stacks<'_> {
    fn pools(&mut self, act: &mut dyn FnMut(&mut Pool)) {
        self.0.pool(act);
    }

    fn places(&self) -> usize {
        self.0.blocks(|blocks| blocks.len())
    }

    fn look(&mut self, place: usize) -> Found {
        let Some(task) = self.0.blocks(|blocks| blocks.get(place).copied()) else {
            return Found::Settled;
        };
        let parked = task.wake.get() == Wake::Pending && task != self.0.running();
        if !parked || task.has(flag::FRESH | flag::DONE) {
            return Found::Settled;
        }
        match task.swept.get() {
            swept::NOT => {
                task.swept.set(swept::ONCE);
                Found::Fresh
            }
            swept::ONCE => {
                let stack = task.swap_stack(None);
                if let Some(stack) = &stack {
                    stack.trim_below(task.fiber.stack_pointer());
                }
                task.swap_stack(stack);
                task.swept.set(swept::TRIMMED);
                Found::Trimmed
            }
            _ => Found::Settled,
        }
    }
}

/// Drops a thread that another OS thread spawned and that no runtime has admitted.
pub(super) fn discard_remote(task: Task) {
    task.drop_closure();
    if task.release() {
        // SAFETY: the block was never registered, its closure is gone, and nobody refers to it.
        unsafe { task.free() };
    }
}

/// The root of every green thread's stack: runs threads until the next ready one has its own.
unsafe extern "C" fn root(runtime: *mut c_void) -> ! {
    // SAFETY: `prepare` passes the runtime, which lives until all green threads have ended.
    let runtime = unsafe { &*runtime.cast_const().cast::<Runtime>() };
    'threads: loop {
        let me = runtime.running();
        // SAFETY: `begin` has just moved the thread from fresh to live, on this stack.
        unsafe { me.run() };
        me.raise(flag::DONE);
        let mut stack = me.swap_stack(None);
        runtime.ended(me);
        if runtime.masked.get() != 0 && !thread::panicking() {
            runtime.unmask();
        }
        let next = loop {
            match runtime.hub(Hub::next) {
                Some(task) if !task.has(flag::STALE | flag::FRESH) => break task,
                Some(task) if task.has(flag::STALE) => runtime.skip(task),
                Some(task) => {
                    if runtime.begin(task, &mut stack) {
                        runtime.current.set(task);
                        task.swap_stack(stack);
                        continue 'threads;
                    }
                }
                None => runtime.wait(),
            }
        };
        runtime.current.set(next);
        runtime.fetch_ahead();
        if let Some(stack) = stack {
            // Nobody takes a stack from the pool before the switch below has left this one.
            runtime.pool(|pool| pool.put(stack));
        }
        // SAFETY: `next` was suspended on this OS thread and its block keeps its stack; this flow
        // has ended and owns nothing any more.
        unsafe { fiber::depart(&raw const next.fiber) };
    }
}

/// Hints that `address` will be read soon; any address will do.
#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address; // no stable way to say it
}

#[cold]
#[inline(never)]
fn no_runtime() -> ! {
    panic!("no green-thread runtime on this OS thread: call this inside eventlet::rt::run")
}

#[cold]
#[inline(never)]
fn deadlocked() -> ! {
    panic!(
        "deadlock: the main green thread waits, and no other green thread, timer, descriptor or OS \
         thread is left that could wake it"
    )
}
