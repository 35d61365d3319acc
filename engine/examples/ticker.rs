//! Timers at work: tickers of different pace, a shared channel, a deadline that ends it all.
//!
//! `cargo run --release --example ticker` runs for two seconds; another number of seconds may be
//! given after `--`.

use eventlet::{rt, sync};
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let seconds = match env::args().nth(1).map(|text| text.parse::<f64>()) {
        None => 2.0,
        Some(Ok(seconds)) if (0.0..=3600.0).contains(&seconds) => seconds,
        Some(_) => {
            eprintln!("usage: ticker [SECONDS], from 0 to 3600");
            return ExitCode::FAILURE;
        }
    };
    let ticks = rt::run(|| watch(Duration::from_secs_f64(seconds)));
    println!("{ticks} ticks in {seconds} s");
    ExitCode::SUCCESS
}

/// Prints the ticks of three tickers until time is over; answers how many there were.
fn watch(time: Duration) -> usize {
    let start = Instant::now();
    let (sender, ticks) = sync::unbounded();
    let tickers: Vec<_> = [("fast", 250), ("steady", 500), ("slow", 900)]
        .into_iter()
        .map(|(name, milliseconds)| {
            let sender = sender.clone();
            rt::spawn(move || {
                let pace = Duration::from_millis(milliseconds);
                for count in 1u32.. {
                    // Each tick has its place in time, so that lateness does not add up.
                    rt::sleep((pace * count).saturating_sub(start.elapsed()));
                    if sender.send((name, count)).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    drop(sender); // the channel ends when the last ticker does

    // Something that happens once, later.
    let end = rt::spawn_after(time, move || {
        for ticker in &tickers {
            ticker.kill();
        }
    });

    let mut total = 0;
    for (name, count) in &ticks {
        println!(
            "{:6.3} s  {name:6} tick {count}",
            start.elapsed().as_secs_f64()
        );
        total += 1;
    }
    end.join().expect("killing does not panic");
    total
}
