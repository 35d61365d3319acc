//! Green threads on their own stacks: fibers, timers, a reactor and a hub.
