//! Rows of contenders, run in turns; medians and ratios.

use std::env;

/// A contender's work: does it so many times, answers nanoseconds per operation.
type Work = Box<dyn Fn(u64) -> f64>;

/// The columns, in order.
const CONTENDERS: [&str; 5] = ["eventlet", "tokio", "may", "corosensei", "plain"];

/// One kind of work.
pub struct Row {
    name: &'static str,
    operations: u64,
    reach: Option<f64>,
    work: [Option<Work>; CONTENDERS.len()],
}

impl Row {
    pub fn new(name: &'static str, operations: u64) -> Row {
        Row {
            name,
            operations,
            reach: None,
            work: [const { None }; CONTENDERS.len()],
        }
    }

    /// The figure that this crate shall reach.
    pub fn reach(mut self, nanoseconds: f64) -> Row {
        self.reach = Some(nanoseconds);
        self
    }

    pub fn ours(self, work: impl Fn(u64) -> f64 + 'static) -> Row {
        self.with(0, work)
    }

    pub fn tokio(self, work: impl Fn(u64) -> f64 + 'static) -> Row {
        self.with(1, work)
    }

    pub fn may(self, work: impl Fn(u64) -> f64 + 'static) -> Row {
        self.with(2, work)
    }

    pub fn corosensei(self, work: impl Fn(u64) -> f64 + 'static) -> Row {
        self.with(3, work)
    }

    pub fn plain(self, work: impl Fn(u64) -> f64 + 'static) -> Row {
        self.with(4, work)
    }

    fn with(mut self, column: usize, work: impl Fn(u64) -> f64 + 'static) -> Row {
        self.work[column] = Some(Box::new(work));
        self
    }
}

/// Runs the rows that the command line asks for, and prints the table.
pub fn run(rows: &[Row], repeats: usize) {
    let mut words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let quick = words.iter().any(|word| word == "--quick");
    words.retain(|word| word != "--quick");
    print!("{:38}", format!("nanoseconds, median of {repeats}"));
    for contender in CONTENDERS {
        print!("{contender:>11}");
    }
    println!("{:>9}  best runtime", "reach");
    for row in rows {
        if words.is_empty() || words.iter().any(|word| row.name.contains(word.as_str())) {
            run_row(
                row,
                repeats,
                if quick {
                    row.operations / 10
                } else {
                    row.operations
                },
            );
        }
    }
}

fn run_row(row: &Row, repeats: usize, operations: u64) {
    let mut samples: [Vec<f64>; CONTENDERS.len()] = Default::default();
    for _ in 0..repeats {
        for (work, samples) in row.work.iter().zip(&mut samples) {
            if let Some(work) = work {
                samples.push(work(operations));
            }
        }
    }
    let medians: Vec<Option<f64>> = samples.iter_mut().map(|samples| median(samples)).collect();
    print!("{:38}", row.name);
    for cell in &medians {
        print!(
            "{:>11}",
            cell.map_or("-".to_owned(), |ns| format!("{ns:.1}"))
        );
    }
    print!(
        "{:>9}",
        row.reach.map_or("-".to_owned(), |ns| format!("{ns:.0}"))
    );
    let ours = medians[0].unwrap_or(f64::NAN);
    let other = medians[1..3]
        .iter()
        .flatten()
        .copied()
        .fold(f64::INFINITY, f64::min);
    if other.is_finite() {
        println!("  {:.1} x ours", other / ours);
    } else {
        println!();
    }
}

fn median(samples: &mut [f64]) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}
