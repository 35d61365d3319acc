//! `may`'s side: all inside one coroutine, on its one worker.

use crate::stopwatch::Stopwatch;
use may::coroutine;
use may::net::{TcpListener, TcpStream};
use may::sync::{Semphore, mpsc};
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Runs `main` as a coroutine.
fn run(main: impl FnOnce() -> f64 + Send + 'static) -> f64 {
    spawn(main).join().expect("no panic")
}

/// Starts a coroutine.
fn spawn<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> coroutine::JoinHandle<R> {
    // SAFETY: the coroutines here keep nothing in thread-local storage and stay within their stack.
    unsafe { coroutine::spawn(body) }
}

pub fn yield_among(threads: u64, n: u64) -> f64 {
    run(move || {
        let start = Stopwatch::start();
        let all: Vec<_> = (0..threads)
            .map(|_| {
                spawn(move || {
                    for _ in 0..n / threads {
                        coroutine::yield_now();
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
    run(move || {
        let start = Stopwatch::start();
        for k in 0..n {
            black_box(spawn(move || k).join().expect("no panic"));
        }
        start.per(n)
    })
}

pub fn spawn_many(n: u64) -> f64 {
    run(move || {
        let start = Stopwatch::start();
        for _ in 0..n / 1000 {
            let all: Vec<_> = (0..1000u64).map(|k| spawn(move || k)).collect();
            for thread in all {
                black_box(thread.join().expect("no panic"));
            }
        }
        start.per(n)
    })
}

pub fn channel(n: u64) -> f64 {
    run(move || {
        let (ping, pinged) = mpsc::channel::<u64>();
        let (pong, ponged) = mpsc::channel::<u64>();
        spawn(move || {
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

pub fn semaphore(n: u64) -> f64 {
    run(move || {
        let semaphore = Arc::new(Semphore::new(1));
        let worker = |share: u64| {
            let semaphore = Arc::clone(&semaphore);
            spawn(move || {
                for _ in 0..share {
                    semaphore.wait();
                    coroutine::yield_now();
                    semaphore.post();
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
    run(move || {
        let mut start = Stopwatch::start();
        for _ in 0..2 {
            start = Stopwatch::start(); // the first round only warms up
            let all: Vec<_> = (0..n)
                .map(|_| spawn(|| coroutine::sleep(Duration::from_millis(1))))
                .collect();
            for thread in all {
                thread.join().expect("no panic");
            }
        }
        start.per(n)
    })
}

pub fn echo(connections: u64, n: u64) -> f64 {
    run(move || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                spawn(move || {
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
                spawn(move || {
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
        let time = start.per(n);
        // SAFETY: the server holds no lock while it waits in `accept`.
        unsafe { server.coroutine().cancel() };
        time
    })
}
