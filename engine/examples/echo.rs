//! A TCP echo server, one green thread per connection, and a client that tries it out.
//!
//! ```text
//! cargo run --release --example echo                        tests itself, then ends
//! cargo run --release --example echo -- serve 127.0.0.1:7000    serves until Ctrl-C
//! cargo run --release --example echo -- try 127.0.0.1:7000      tries a server out
//! ```

use eventlet::net::{TcpListener, TcpStream};
use eventlet::rt;
use std::env;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Instant;

const CONNECTIONS: u32 = 100;
const MESSAGES: u32 = 200;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = rt::run(|| match words[..] {
        [] => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            rt::spawn(move || serve(&listener));
            try_out(address)?;
            println!("To serve others: cargo run --release --example echo -- serve 127.0.0.1:7000");
            Ok(())
        }
        ["serve", address] => {
            let listener = TcpListener::bind(address)?;
            println!("serving {}; end with Ctrl-C", listener.local_addr()?);
            serve(&listener)
        }
        ["try", address] => try_out(address),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: echo [serve|try ADDRESS]",
        )),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Accepts for ever; each connection gets a green thread of its own.
fn serve(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        rt::spawn(move || {
            if let Err(error) = echo(stream) {
                eprintln!("a connection broke: {error}");
            }
        });
    }
    Ok(())
}

/// Sends everything back until the other end has finished.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// Talks to a server over many connections at once, and checks every answer.
fn try_out(address: impl ToSocketAddrs) -> io::Result<()> {
    let Some(address) = address.to_socket_addrs()?.next() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no such address",
        ));
    };
    let start = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            rt::spawn(move || {
                let mut stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                for count in 0..MESSAGES {
                    let sent = format!("message {count} of connection {number}");
                    stream.write_all(sent.as_bytes())?;
                    let mut answer = vec![0; sent.len()];
                    stream.read_exact(&mut answer)?;
                    if answer != sent.as_bytes() {
                        return Err(io::Error::other("the echo differs from what was sent"));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(io::Error::other)??;
    }
    let (total, seconds) = (CONNECTIONS * MESSAGES, start.elapsed().as_secs_f64());
    println!("{total} echoes over {CONNECTIONS} connections in {seconds:.2} s: all right");
    Ok(())
}
