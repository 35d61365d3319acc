//! This crate's side.

use crate::stopwatch::Stopwatch;
use eventlet::fiber::{self, Fiber};
use eventlet::net::{TcpListener, TcpStream};
use eventlet::stack::{Config, Pool};
use eventlet::{rt, sync};
use std::ffi::c_void;
use std::hint::black_box;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

struct Pair {
    main: Fiber,
    child: Fiber,
}

/// Switches back for ever.
unsafe extern "C" fn back(pair: *mut c_void) -> ! {
    let pair = pair.cast_const().cast::<Pair>();
    loop {
        // SAFETY: `switch` below keeps the pair, and the main flow waits in it.
        let Pair { main, child } = unsafe { &*pair };
        // SAFETY: the main flow is suspended and lives on the OS thread's stack.
        unsafe { fiber::switch_plain(child, main) };
    }
}

pub fn switch(n: u64) -> f64 {
    let mut pool = Pool::new(Config {
        size: 64 * 1024,
        tail: 0,
    });
    let stack = pool.take().expect("a stack");
    let mut pair = Box::new(Pair {
        main: Fiber::running(),
        child: Fiber::running(),
    });
    let argument = (&raw mut *pair).cast::<c_void>();
    // SAFETY: the stack is ours until `put`, after the last switch.
    pair.child = unsafe { Fiber::new(stack.top(), back, argument) };
    let start = Stopwatch::start();
    for _ in 0..n {
        // SAFETY: the child is new or suspended in `back`, on its own stack.
        unsafe { fiber::switch_plain(&pair.main, &pair.child) };
    }
    let time = start.per(n);
    pool.put(stack);
    time
}

pub fn yield_among(threads: u64, n: u64) -> f64 {
    rt::run(|| {
        let start = Stopwatch::start();
        let all: Vec<_> = (0..threads)
            .map(|_| {
                rt::spawn(move || {
                    for _ in 0..n / threads {
                        rt::yield_now();
                    }
                })
            })
            .collect();
        for thread in all {
            thread.join().expect("no panic");
        }
        start.per(n)
    })
}

pub fn spawn_join(n: u64) -> f64 {
    rt::run(|| {
        let start = Stopwatch::start();
        for k in 0..n {
            black_box(rt::spawn(move || k).join().expect("no panic"));
        }
        start.per(n)
    })
}

pub fn spawn_many(n: u64) -> f64 {
    rt::run(|| {
        let start = Stopwatch::start();
        for _ in 0..n / 1000 {
            let all: Vec<_> = (0..1000u64).map(|k| rt::spawn(move || k)).collect();
            for thread in all {
                black_box(thread.join().expect("no panic"));
            }
        }
        start.per(n)
    })
}

pub fn channel(n: u64) -> f64 {
    rt::run(|| {
        let (ping, pinged) = sync::bounded::<u64>(1);
        let (pong, ponged) = sync::bounded::<u64>(1);
        rt::spawn(move || {
            while let Ok(value) = pinged.recv() {
                if pong.send(value).is_err() {
                    break;
                }
            }
        });
        let start = Stopwatch::start();
        for k in 0..n {
            ping.send(k).expect("the other side listens");
            assert_eq!(ponged.recv(), Ok(k));
        }
        start.per(n)
    })
}

pub fn channel_timeout(n: u64) -> f64 {
    let patience = Duration::from_secs(10);
    rt::run(|| {
        let (ping, pinged) = sync::bounded::<u64>(1);
        let (pong, ponged) = sync::bounded::<u64>(1);
        rt::spawn(move || {
            while let Ok(value) = pinged.recv_timeout(patience) {
                if pong.send(value).is_err() {
                    break;
                }
            }
        });
        let start = Stopwatch::start();
        for k in 0..n {
            ping.send(k).expect("the other side listens");
            assert_eq!(ponged.recv_timeout(patience), Ok(k));
        }
        start.per(n)
    })
}

pub fn semaphore(n: u64) -> f64 {
    rt::run(|| {
        let semaphore = Rc::new(sync::Semaphore::new(1));
        let worker = |share: u64| {
            let semaphore = Rc::clone(&semaphore);
            rt::spawn(move || {
                for _ in 0..share {
                    let permit = semaphore.acquire();
                    rt::yield_now();
                    drop(permit);
                }
            })
        };
        let start = Stopwatch::start();
        let (one, two) = (worker(n / 2), worker(n / 2));
        one.join().expect("no panic");
        two.join().expect("no panic");
        start.per(n)
    })
}

pub fn sleeps(n: u64) -> f64 {
    rt::run(|| {
        let mut start = Stopwatch::start();
        for _ in 0..2 {
            start = Stopwatch::start(); // the first round only warms up
            let all: Vec<_> = (0..n)
                .map(|_| rt::spawn(|| rt::sleep(Duration::from_millis(1))))
                .collect();
            for thread in all {
                thread.join().expect("no panic");
            }
        }
        start.per(n)
    })
}

pub fn echo(connections: u64, n: u64) -> f64 {
    rt::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        rt::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                rt::spawn(move || {
                    stream.set_nodelay(true).expect("a TCP option");
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        stream
                            .write_all(&buffer[..count])
                            .expect("the client listens");
                    }
                });
            }
        });
        let streams: Vec<_> = (0..connections)
            .map(|_| {
                let stream = TcpStream::connect(address).expect("the server listens");
                stream.set_nodelay(true).expect("a TCP option");
                stream
            })
            .collect();
        let start = Stopwatch::start();
        let clients: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                rt::spawn(move || {
                    let mut buffer = [7; 64];
                    for _ in 0..n / connections {
                        stream.write_all(&buffer).expect("the server listens");
                        stream.read_exact(&mut buffer).expect("the server answers");
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().expect("no panic");
        }
        start.per(n)
    })
}
