//! tokio's side: its current-thread runtime, tasks in its local set's cheaper cousin `spawn`.

use crate::stopwatch::Stopwatch;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task;
use tokio::time;

fn run<F: Future>(main: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(main)
}

pub fn yield_among(threads: u64, n: u64) -> f64 {
    run(async move {
        let start = Stopwatch::start();
        let all: Vec<_> = (0..threads)
            .map(|_| {
                tokio::spawn(async move {
                    for _ in 0..n / threads {
                        task::yield_now().await;
                    }
                })
            })
            .collect();
        for thread in all {
            thread.await.expect("no panic");
        }
        start.per(n)
    })
}

pub fn spawn_join(n: u64) -> f64 {
    run(async move {
        let start = Stopwatch::start();
        for k in 0..n {
            black_box(tokio::spawn(async move { k }).await.expect("no panic"));
        }
        start.per(n)
    })
}

pub fn spawn_many(n: u64) -> f64 {
    run(async move {
        let start = Stopwatch::start();
        for _ in 0..n / 1000 {
            let all: Vec<_> = (0..1000u64)
                .map(|k| tokio::spawn(async move { k }))
                .collect();
            for thread in all {
                black_box(thread.await.expect("no panic"));
            }
        }
        start.per(n)
    })
}

pub fn channel(n: u64) -> f64 {
    run(async move {
        let (ping, mut pinged) = mpsc::channel::<u64>(1);
        let (pong, mut ponged) = mpsc::channel::<u64>(1);
        tokio::spawn(async move {
            while let Some(value) = pinged.recv().await {
                if pong.send(value).await.is_err() {
                    break;
                }
            }
        });
        let start = Stopwatch::start();
        for k in 0..n {
            ping.send(k).await.expect("the other side listens");
            assert_eq!(ponged.recv().await, Some(k));
        }
        start.per(n)
    })
}

pub fn channel_timeout(n: u64) -> f64 {
    let patience = Duration::from_secs(10);
    run(async move {
        let (ping, mut pinged) = mpsc::channel::<u64>(1);
        let (pong, mut ponged) = mpsc::channel::<u64>(1);
        tokio::spawn(async move {
            while let Ok(Some(value)) = time::timeout(patience, pinged.recv()).await {
                if pong.send(value).await.is_err() {
                    break;
                }
            }
        });
        let start = Stopwatch::start();
        for k in 0..n {
            ping.send(k).await.expect("the other side listens");
            assert_eq!(time::timeout(patience, ponged.recv()).await, Ok(Some(k)));
        }
        start.per(n)
    })
}

pub fn semaphore(n: u64) -> f64 {
    run(async move {
        let semaphore = Arc::new(Semaphore::new(1));
        let worker = |share: u64| {
            let semaphore = Arc::clone(&semaphore);
            tokio::spawn(async move {
                for _ in 0..share {
                    let permit = semaphore.acquire().await.expect("never closed");
                    task::yield_now().await;
                    drop(permit);
                }
            })
        };
        let start = Stopwatch::start();
        let (one, two) = (worker(n / 2), worker(n / 2));
        one.await.expect("no panic");
        two.await.expect("no panic");
        start.per(n)
    })
}

pub fn sleeps(n: u64) -> f64 {
    run(async move {
        let mut start = Stopwatch::start();
        for _ in 0..2 {
            start = Stopwatch::start(); // the first round only warms up
            let all: Vec<_> = (0..n)
                .map(|_| tokio::spawn(time::sleep(Duration::from_millis(1))))
                .collect();
            for thread in all {
                thread.await.expect("no panic");
            }
        }
        start.per(n)
    })
}

pub fn echo(connections: u64, n: u64) -> f64 {
    run(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("a TCP option");
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        stream
                            .write_all(&buffer[..count])
                            .await
                            .expect("the client listens");
                    }
                });
            }
        });
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address)
                .await
                .expect("the server listens");
            stream.set_nodelay(true).expect("a TCP option");
            streams.push(stream);
        }
        let start = Stopwatch::start();
        let clients: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                tokio::spawn(async move {
                    let mut buffer = [7; 64];
                    for _ in 0..n / connections {
                        stream.write_all(&buffer).await.expect("the server listens");
                        stream
                            .read_exact(&mut buffer)
                            .await
                            .expect("the server answers");
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.expect("no panic");
        }
        start.per(n)
    })
}
