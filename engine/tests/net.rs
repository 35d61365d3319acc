//! Green TCP: what blocks only the green thread, what wakes it, and what it is told.

mod watchdog;

use eventlet::net::{TcpListener, TcpStream};
use eventlet::reactor::Backend;
use eventlet::rt::{self, Builder};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown};
use std::rc::Rc;
use std::time::{Duration, Instant};
use watchdog::watch;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Runs `main` on each readiness interface of the platform.
fn on_each_backend(main: impl Fn() -> io::Result<()>) {
    for backend in [Backend::default(), Backend::Poll] {
        let ended = Builder::new()
            .backend(backend)
            .run(&main)
            .expect("a runtime");
        ended.unwrap_or_else(|error| panic!("on {backend:?}: {error}"));
    }
}

/// A connection to ourselves.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// The number of the system's error for a descriptor that is not open.
fn is_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

#[test]
fn many_connections_are_served_at_once() {
    let _watchdog = watch();
    on_each_backend(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        rt::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                rt::spawn(move || {
                    let mut buffer = [0; 100];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..count]).unwrap();
                    }
                });
            }
        });
        let clients: Vec<_> = (0..50u8)
            .map(|n| {
                rt::spawn(move || -> io::Result<()> {
                    let mut stream = TcpStream::connect(address)?;
                    for k in 0..20 {
                        let sent = [n ^ k; 64];
                        stream.write_all(&sent)?;
                        let mut got = [0; 64];
                        stream.read_exact(&mut got)?;
                        assert_eq!(got, sent);
                    }
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn more_than_the_buffers_hold_passes_in_both_directions_at_once() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (here, there) = pair()?;
        let data: Rc<Vec<u8>> = Rc::new((0..6_000_000u32).map(|n| (n / 7) as u8).collect());
        let pump = |stream: TcpStream| {
            let stream = Rc::new(stream);
            let (out, source) = (Rc::clone(&stream), Rc::clone(&data));
            let writer = rt::spawn(move || {
                (&*out).write_all(&source)?;
                out.shutdown(Shutdown::Write)
            });
            let reader = rt::spawn(move || {
                let mut got = Vec::new();
                (&*stream).read_to_end(&mut got).map(|_| got)
            });
            (writer, reader)
        };
        let (one, two) = (pump(here), pump(there));
        for (writer, reader) in [one, two] {
            writer.join().unwrap()?;
            assert!(reader.join().unwrap()? == *data);
        }
        Ok(())
    });
}

#[test]
fn the_end_that_comes_with_the_last_data_is_seen() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (mut here, mut there) = pair()?;
        // `there` is registered and idle, so that data and end are reported in one event.
        there.set_read_timeout(Some(MILLISECOND));
        assert_eq!(
            there.read(&mut [0; 100]).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        there.set_read_timeout(None);
        here.write_all(b"last")?;
        drop(here);
        rt::sleep(MILLISECOND); // takes the event in before the read
        assert_eq!(there.read(&mut [0; 100])?, 4);
        assert_eq!(there.read(&mut [0; 100])?, 0);
        assert_eq!(there.read(&mut [0; 100])?, 0);
        Ok(())
    });
}

#[test]
fn timeouts_end_the_call_and_not_the_connection() {
    let _watchdog = watch();
    on_each_backend(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_timeout(Some(2 * MILLISECOND));
        let before = Instant::now();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(before.elapsed() >= 2 * MILLISECOND);
        listener.set_timeout(None);

        let mut here = TcpStream::connect(listener.local_addr()?)?;
        let (mut there, _) = listener.accept()?;
        here.set_read_timeout(Some(2 * MILLISECOND));
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        there.write_all(b"x")?;
        assert_eq!(here.read(&mut [0; 9])?, 1);
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);

        here.set_write_timeout(Some(2 * MILLISECOND));
        let full = loop {
            if let Err(error) = here.write(&[0; 65536]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::TimedOut);
        there.set_read_timeout(Some(2 * MILLISECOND));
        let mut drained = Vec::new();
        assert_eq!(
            there.read_to_end(&mut drained).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        assert!(!drained.is_empty());
        here.write_all(b"goes on")?;
        assert_eq!(there.read(&mut [0; 100])?, 7);
        Ok(())
    });
}

#[test]
fn a_refused_connection_is_told() {
    let _watchdog = watch();
    on_each_backend(|| {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // closed again
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let refused = TcpStream::connect_timeout(&address, 1000 * MILLISECOND).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // The second address answers.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(&[address, listener.local_addr()?][..])?;
        assert_eq!(stream.peer_addr()?, listener.local_addr()?);
        let nothing: &[net::SocketAddr] = &[];
        assert_eq!(
            TcpStream::connect(nothing).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        Ok(())
    });
}

#[test]
fn closing_wakes_whoever_waits_for_the_socket() {
    let _watchdog = watch();
    on_each_backend(|| {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0")?);
        let accepts = Rc::clone(&listener);
        let acceptor = rt::spawn(move || accepts.accept().map(|_| ()));
        let (here, _there) = pair()?;
        let here = Rc::new(here);
        let readers: Vec<_> = (0..2)
            .map(|n| {
                let stream = Rc::clone(&here);
                if n == 1 {
                    stream.set_read_timeout(Some(10_000 * MILLISECOND));
                }
                rt::spawn(move || (&*stream).read(&mut [0; 9]).map(|_| ()))
            })
            .collect();
        rt::yield_now();
        listener.close();
        here.close();
        here.close(); // once more changes nothing
        assert!(is_closed(&acceptor.join().unwrap().unwrap_err()));
        for reader in readers {
            assert!(is_closed(&reader.join().unwrap().unwrap_err()));
        }
        assert!(is_closed(&(&*here).write(b"x").unwrap_err()));
        assert!(is_closed(&here.local_addr().unwrap_err()));
        assert!(is_closed(&here.shutdown(Shutdown::Both).unwrap_err()));
        Ok(())
    });
}

#[test]
fn a_closed_number_that_comes_again_is_another_socket() {
    let _watchdog = watch();
    on_each_backend(|| {
        for _ in 0..20 {
            let (mut here, mut there) = pair()?; // most likely the numbers of the last round
            let reader = rt::spawn(move || {
                let mut got = [0; 4];
                there.read_exact(&mut got).map(|()| got)
            });
            rt::yield_now();
            here.write_all(b"ping")?;
            assert_eq!(&reader.join().unwrap()?, b"ping");
        }
        Ok(())
    });
}

#[test]
fn a_kill_in_a_read_closes_what_the_thread_owns() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (mut here, mut there) = pair()?;
        let reader = rt::spawn(move || there.read(&mut [0; 9]).map(|_| ()));
        rt::yield_now();
        reader.kill();
        assert!(reader.join().is_err());
        assert_eq!(here.read(&mut [0; 9])?, 0, "the other end is closed");
        Ok(())
    });
}

#[test]
fn a_broken_connection_is_an_error_and_no_signal() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (mut here, there) = pair()?;
        drop(there);
        let error = loop {
            if let Err(error) = here.write(&[0; 1000]) {
                break error;
            }
            rt::sleep(MILLISECOND);
        };
        assert!(matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
        let parts = [IoSlice::new(b"a"), IoSlice::new(b"b")];
        assert_eq!(
            here.write_vectored(&parts).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        Ok(())
    });
}

#[test]
fn vectors_peeks_and_options() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (mut here, mut there) = pair()?;
        here.set_nodelay(true)?;
        assert_eq!(
            here.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")])?,
            4
        );
        let mut buffer = [0; 3];
        assert_eq!(there.peek(&mut buffer)?, 3);
        let (mut one, mut two) = ([0; 1], [0; 9]);
        let count =
            there.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)])?;
        assert_eq!((count, &one, &two[..3]), (4, b"a", &b"bcd"[..]));
        assert_eq!(here.local_addr()?, there.peer_addr()?);
        here.flush()?;
        assert!(format!("{here:?}").contains("127.0.0.1"));
        Ok(())
    });
}

#[test]
fn the_others_run_while_one_waits_for_the_network() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (mut here, mut there) = pair()?;
        rt::spawn(move || {
            for _ in 0..1000 {
                rt::yield_now();
            }
            here.write_all(b"x").unwrap();
        });
        assert_eq!(there.read(&mut [0; 9])?, 1);
        Ok(())
    });
}

#[test]
fn busy_threads_do_not_starve_the_network() {
    let _watchdog = watch();
    on_each_backend(|| {
        let (mut here, mut there) = pair()?;
        for _ in 0..3 {
            rt::spawn(|| {
                loop {
                    rt::yield_now();
                }
            });
        }
        let reader = rt::spawn(move || there.read(&mut [0; 9]));
        rt::yield_now();
        here.write_all(b"x")?;
        assert_eq!(reader.join().unwrap()?, 1);
        Ok(())
    });
}

#[test]
fn a_socket_may_outlive_its_runtime_and_work_in_the_next() {
    let _watchdog = watch();
    let (mut here, mut there) = rt::run(|| -> io::Result<_> {
        let (here, mut there) = pair()?;
        there.set_read_timeout(Some(MILLISECOND));
        assert!(there.read(&mut [0]).is_err(), "registered now");
        Ok((here, there))
    })
    .unwrap();
    here.write_all(b"x").unwrap();
    assert_eq!(
        there.read(&mut [0; 9]).unwrap(),
        1,
        "no wait, no runtime needed"
    );
    rt::run(|| {
        let reader = rt::spawn(move || {
            there.set_read_timeout(None);
            there.read(&mut [0; 9])
        });
        rt::yield_now();
        here.write_all(b"yz")?;
        assert_eq!(reader.join().unwrap()?, 2);
        io::Result::Ok(())
    })
    .unwrap();
}

#[test]
fn sockets_of_the_standard_library_can_be_taken_over() {
    let _watchdog = watch();
    on_each_backend(|| {
        let listener = net::TcpListener::bind("127.0.0.1:0")?;
        let client = net::TcpStream::connect(listener.local_addr()?)?;
        let listener = TcpListener::from_std(listener)?;
        let mut client = TcpStream::from_std(client)?;
        let (mut server, peer) = listener.accept()?;
        assert_eq!(peer, client.local_addr()?);
        let reader = rt::spawn(move || client.read(&mut [0; 9]));
        rt::yield_now();
        server.write_all(b"abc")?;
        assert_eq!(reader.join().unwrap()?, 3);
        Ok(())
    });
}

#[test]
fn several_threads_may_accept_from_one_listener() {
    let _watchdog = watch();
    on_each_backend(|| {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0")?);
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                let listener = Rc::clone(&listener);
                rt::spawn(move || listener.accept().map(|_| ()))
            })
            .collect();
        rt::yield_now();
        let address = listener.local_addr()?;
        let _clients = (0..3)
            .map(|_| TcpStream::connect(address))
            .collect::<io::Result<Vec<_>>>()?;
        for acceptor in acceptors {
            acceptor.join().unwrap()?;
        }
        Ok(())
    });
}
