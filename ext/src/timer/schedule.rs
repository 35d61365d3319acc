//! `Schedule`: where a call of the hub's stands.

use crate::hub::TimerHandle;

/// How something that the hub is to call is scheduled, and whether a call that arrives is still wanted.
///
/// What is due at once goes into the hub's queue of wake-ups, in order with them, and cannot be taken out of it:
/// when it is withdrawn, the next call to arrive is the withdrawn one and is not wanted.
#[derive(Default)]
pub struct Schedule {
    handle: Option<TimerHandle>,
    soon: bool,
    withdrawn: u32,
}

impl Schedule {
    /// Takes note of what `hub::call_in` answered.
    pub fn set(&mut self, handle: Option<TimerHandle>) {
        self.soon = handle.is_none();
        self.handle = handle;
    }

    /// A call arrives: whether it is wanted.
    pub fn arrive(&mut self) -> bool {
        if self.withdrawn > 0 {
            self.withdrawn -= 1;
            return false;
        }
        self.soon = false;
        self.handle = None;
        true
    }

    /// It is not wanted any more; the timer to be cancelled.
    pub fn withdraw(&mut self) -> Option<TimerHandle> {
        if std::mem::take(&mut self.soon) {
            self.withdrawn += 1;
        }
        self.handle.take()
    }
}
