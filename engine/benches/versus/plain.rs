//! The floor: the same system calls in a row, without any scheduler.

use crate::stopwatch::Stopwatch;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

pub fn echo(n: u64) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (mut server, _) = listener.accept().expect("connected");
    client.set_nodelay(true).expect("a TCP option");
    server.set_nodelay(true).expect("a TCP option");
    let mut buffer = [7; 64];
    let start = Stopwatch::start();
    for _ in 0..n {
        client.write_all(&buffer).expect("connected");
        server.read_exact(&mut buffer).expect("sent");
        server.write_all(&buffer).expect("connected");
        client.read_exact(&mut buffer).expect("sent");
    }
    start.per(n)
}
