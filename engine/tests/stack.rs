//! Stacks: their shape, the pool's book-keeping, guards that fault, and running out of space.
#![allow(unsafe_code, reason = "writes into stacks and provokes faults")]

use eventlet::stack::{Config, Guards, MIN_SIZE, Pool, Stack, default_size};
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

const PAGE: usize = 4096;

/// Runs one `#[ignore]`d test of this file in a process of its own.
fn alone(test: &str) -> ExitStatus {
    Command::new(std::env::current_exe().expect("own path"))
        .args([
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        // A sanitizer would turn the signal into a report.
        .env("ASAN_OPTIONS", "handle_segv=0")
        .output()
        .expect("starts")
        .status
}

fn touch(byte: *mut u8) {
    // SAFETY: every caller passes a byte of a stack that it holds, or wants to fault.
    unsafe { byte.write_volatile(1) }
}

fn read(byte: *mut u8) -> u8 {
    // SAFETY: every caller passes a byte of a stack that it holds.
    unsafe { byte.read_volatile() }
}

fn page_of(address: *mut u8) -> usize {
    address.addr() / PAGE
}

fn take(pool: &mut Pool) -> Stack {
    pool.take().expect("address space")
}

#[test]
fn slots_have_the_promised_shape() {
    for (size, tail) in [
        (1, 0),
        (16_384, 16),
        (65_536, 600),
        (262_144, 16_384),
        (1 << 20, 70_001),
    ] {
        let mut pool = Pool::new(Config { size, tail });
        let stacks: Vec<_> = (0..130).map(|_| take(&mut pool)).collect();
        let mut colours = HashSet::new();
        for stack in &stacks {
            let (tail_start, tail_bytes) = stack.tail();
            assert_eq!(stack.top().addr() % 64, 0);
            assert_eq!(tail_start, stack.top());
            assert_eq!(tail_bytes % 16, 0);
            assert!(tail_bytes >= tail);
            assert!(stack.size() >= size.max(MIN_SIZE));
            assert_eq!(stack.size(), stack.top().addr() - stack.limit().addr());
            assert_eq!(stack.limit().addr() % PAGE, 0);
            assert_eq!(stack.guard().1, PAGE);
            assert!(read(stack.limit()) == 0);
            touch(stack.limit());
            touch(stack.top().wrapping_sub(1));
            if tail > 0 {
                assert_eq!(
                    page_of(stack.top().wrapping_sub(1024)),
                    page_of(stack.top())
                );
                assert_eq!(page_of(stack.top().wrapping_add(15)), page_of(stack.top()));
                touch(stack.top());
                touch(stack.top().wrapping_add(tail_bytes - 1));
            }
            colours.insert(stack.top().addr() % PAGE);
        }
        assert_eq!(colours.len(), 16);
        let mut ranges: Vec<_> = stacks
            .iter()
            .map(|s| (s.guard().0.addr(), s.tail().0.addr() + s.tail().1))
            .collect();
        ranges.sort_unstable();
        assert!(
            ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "slots overlap"
        );
        stacks.into_iter().for_each(|stack| pool.put(stack));
        assert_eq!((pool.in_use(), pool.idle()), (0, 130));
    }
}

#[test]
fn the_warmest_stack_comes_first_and_trimming_starts_at_the_coldest() {
    let mut pool = Pool::new(Config {
        size: 65_536,
        tail: 4096,
    });
    let stacks: Vec<_> = (0..8).map(|_| take(&mut pool)).collect();
    let tops: Vec<_> = stacks.iter().map(Stack::top).collect();
    for stack in stacks {
        touch(stack.limit());
        touch(stack.top().wrapping_sub(8));
        touch(stack.top());
        pool.put(stack);
    }
    assert_eq!(pool.trim(100), 0);
    assert_eq!(pool.trim(3), 5);
    assert_eq!(pool.trim(3), 0, "already done");
    assert_eq!(pool.trim(2), 1);
    let again: Vec<_> = (0..8).map(|_| take(&mut pool)).collect();
    for (n, (stack, top)) in again.iter().zip(tops.iter().rev()).enumerate() {
        assert_eq!(stack.top(), *top);
        let want = u8::from(n < 2);
        assert_eq!(read(stack.limit()), want, "stack {n}");
        assert_eq!(read(stack.top().wrapping_sub(8)), want, "stack {n}");
        assert_eq!(read(stack.top()), want, "stack {n}");
    }
    for stack in again {
        touch(stack.limit());
        pool.put(stack);
    }
    assert_eq!(
        pool.trim(0),
        8,
        "used again, so there is something to trim again"
    );
}

#[test]
fn trimming_below_a_parked_stack_pointer_spares_what_lives() {
    let mut pool = Pool::new(Config {
        size: 65_536,
        tail: 0,
    });
    let stack = take(&mut pool);
    let pages = stack.size() / PAGE;
    let fill = || (0..=pages).for_each(|n| touch(stack.limit().wrapping_add(n * PAGE)));
    for parked in [0, 1, 2, 5, pages] {
        fill();
        stack.trim_below(stack.limit().wrapping_add(parked * PAGE + 100));
        for n in 0..=pages {
            let want = u8::from(n + 1 >= parked);
            assert_eq!(
                read(stack.limit().wrapping_add(n * PAGE)),
                want,
                "page {n} of {parked}"
            );
        }
    }
    fill();
    stack.trim_below(std::ptr::null_mut());
    stack.trim_below(stack.top().wrapping_add(PAGE));
    assert_eq!(read(stack.limit()), 1, "foreign stack pointers are ignored");
    pool.put(stack);
}

#[test]
fn a_stack_of_another_pool_is_leaked_instead_of_mixed_up() {
    let config = Config {
        size: 65_536,
        tail: 0,
    };
    let (mut one, mut other) = (Pool::new(config), Pool::new(config));
    let stack = take(&mut one);
    let byte = stack.limit();
    let own = take(&mut other);
    other.put(stack);
    assert_eq!((other.in_use(), other.idle()), (1, 0));
    other.put(own);
    drop(one);
    touch(byte); // still mapped: the slab had a slot in use
}

#[test]
fn unmapped_when_the_pool_goes_with_all_stacks_at_home() {
    let mut pool = Pool::new(Config {
        size: 65_536,
        tail: 0,
    });
    let stack = take(&mut pool);
    let limit = stack.limit();
    pool.put(stack);
    drop(pool);
    let mut resident = 0_u8;
    // SAFETY: only asks about the mapping.
    let status = unsafe { libc::mincore(limit.cast(), PAGE, &raw mut resident) };
    // Another thread's mapping may have taken the place meanwhile; a guard page there tells nothing.
    if status == -1 {
        let error = std::io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}

#[test]
fn sparse_guards_protect_one_slot_per_slab() {
    let config = Config {
        size: 65_536,
        tail: 0,
    };
    let mut pool = Pool::with_guards(config, Guards::Sparse);
    let stacks: Vec<_> = (0..128).map(|_| take(&mut pool)).collect();
    let guarded = stacks.iter().filter(|stack| stack.guard().1 > 0).count();
    assert_eq!(guarded, 2);
    let bare = &stacks[1];
    assert_eq!(bare.guard(), (bare.limit(), 0));
    stacks.into_iter().for_each(|stack| pool.put(stack));
}

#[test]
fn running_into_a_guard_is_a_segmentation_fault() {
    for test in ["fault_marked", "fault_protected"] {
        let status = alone(test);
        assert_eq!(status.signal(), Some(libc::SIGSEGV), "{test}: {status}");
    }
    assert!(alone("no_fault").success(), "the limit itself is usable");
}

fn overrun(guards: Guards, by: usize) {
    let mut pool = Pool::with_guards(
        Config {
            size: 65_536,
            tail: 0,
        },
        guards,
    );
    let stacks = [take(&mut pool), take(&mut pool)];
    // The slot below is in use and mapped: only the guard can be what faults.
    touch(stacks[1].limit().wrapping_sub(by));
    stacks.into_iter().for_each(|stack| pool.put(stack));
}

#[test]
#[ignore = "dies; run by running_into_a_guard_is_a_segmentation_fault"]
fn fault_marked() {
    overrun(Guards::Auto, 1);
}

#[test]
#[ignore = "dies; run by running_into_a_guard_is_a_segmentation_fault"]
fn fault_protected() {
    overrun(Guards::Protect, 1);
}

#[test]
#[ignore = "run by running_into_a_guard_is_a_segmentation_fault"]
fn no_fault() {
    overrun(Guards::Auto, 0);
    overrun(Guards::Protect, 0);
}

#[cfg(not(eventlet_asan))]
#[test]
fn exhausted_address_space_is_an_error() {
    let status = alone("exhaust");
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "limits the whole process; run by exhausted_address_space_is_an_error"]
fn exhaust() {
    let limit = libc::rlimit {
        rlim_cur: 512 << 20,
        rlim_max: 512 << 20,
    };
    // SAFETY: the structure is valid; this process is ours alone.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(status, 0);
    let mut pool = Pool::new(Config {
        size: 1 << 20,
        tail: 0,
    });
    let mut stacks = Vec::new();
    let error = loop {
        match pool.take() {
            Ok(stack) => stacks.push(stack),
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    assert!(
        stacks.len() > 256,
        "{} stacks of 1 MiB in 512 MiB",
        stacks.len()
    );
    assert_eq!(pool.in_use(), stacks.len());
    pool.put(stacks.pop().expect("some"));
    stacks.push(pool.take().expect("the one put back"));
    assert!(pool.take().is_err());
    stacks.into_iter().for_each(|stack| pool.put(stack));
}

#[test]
fn absurd_sizes_are_errors() {
    for (size, tail) in [
        (usize::MAX, 0),
        (65_536, usize::MAX),
        (usize::MAX / 2, 0),
        (1 << 60, 0),
    ] {
        let error = Pool::new(Config { size, tail })
            .take()
            .expect_err("too large");
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{size} {tail}");
    }
}

#[test]
fn sizes_are_read_as_users_write_them() {
    for (text, want) in [
        ("16384", 16_384),
        ("256K", 262_144),
        ("256k", 262_144),
        (" 1M ", 1 << 20),
        ("2 MiB", 2 << 20),
        ("1G", 1 << 30),
        ("32KB", 32_768),
        ("65536B", 65_536),
    ] {
        assert_eq!(default_size(Some(text)).expect(text), want, "{text:?}");
    }
    for text in [
        "",
        " ",
        "K",
        "-1",
        "-64K",
        "+64K",
        "1.5M",
        "0",
        "1K",
        "64T",
        "64K!",
        "0x10000",
        "99999999999999999999",
        "17179869184G",
        "6 4K",
        "六四K",
        "64Kk",
    ] {
        let error = default_size(Some(text)).expect_err(text);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{text:?}");
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}
