//! `HostsCache`: answers of libc's resolver that came from local files alone, kept while those files are the same.
//!
//! An answer may be kept if libc asks the hosts file first (nsswitch.conf(5), `hosts: files …`) and the hosts file
//! has the name for the family that was asked for, so that no server took part; and if its order cannot change with
//! routes and interfaces (RFC 6724): one address, or loopback addresses only. AI_ADDRCONFIG depends on interfaces
//! and is never kept. The files are looked at (stat(2)) at every call, so a change counts at once; that of the services
//! only for a port that is a name.
//!
//! Answers for numeric addresses with numeric ports depend on no file, and are kept without looking at any.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyString};

use crate::gil_cell::GilCell;

const FILES: usize = 4;
const HOSTS: usize = 0;
const NSSWITCH: usize = 1;
const SERVICES: usize = 3;

/// More answers than this are not kept: a program that asks for that many has another cache.
const MOST: usize = 256;

/// What tells one state of a file from another; all zero for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    fn of(path: &str) -> Stamp {
        std::fs::metadata(path).map_or_else(|_| Stamp::default(), |found| Stamp::from(&found))
    }
}

impl From<&Metadata> for Stamp {
    fn from(found: &Metadata) -> Stamp {
        Stamp {
            inode: found.ino(),
            size: found.size(),
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec(),
        }
    }
}

/// The service of a question.
#[derive(PartialEq, Eq, Hash)]
enum Port {
    None,
    Number(i64),
    Name(String),
}

#[derive(PartialEq, Eq, Hash)]
struct Question {
    host: String,
    port: Port,
    family: i32,
    kind: i32,
    protocol: i32,
    flags: i32,
}

#[derive(Default)]
struct State {
    stamps: [Stamp; FILES],
    generation: u64,
    /// Names of the hosts file with an IPv4, an IPv6 address; nobody's unless it is asked first.
    names: [HashSet<String>; 2],
    answers: HashMap<Question, Py<PyList>>,
    /// Of questions that depend on no file.
    numeric: HashMap<Question, Py<PyList>>,
}

/// Answers to look-ups, as `socket.getaddrinfo` gives them, that local files alone decide.
#[pyclass(frozen, module = "greenlet._core")]
pub struct HostsCache {
    /// Paths of the hosts file, and of nsswitch.conf, gai.conf and services beside it.
    files: [String; FILES],
    state: GilCell<State>,
}

fn question(
    host: &Bound<'_, PyAny>,
    port: &Bound<'_, PyAny>,
    numbers: [&Bound<'_, PyAny>; 4],
) -> Option<Question> {
    // What is not of these types has its own error, or its own meaning, in libc's binding.
    let host = host.cast_exact::<PyString>().ok()?;
    let host = host.to_str().ok()?.to_owned();
    let port = if port.is_none() {
        Port::None
    } else if port.is_exact_instance_of::<PyInt>() {
        Port::Number(port.extract().ok()?)
    } else {
        Port::Name(
            port.cast_exact::<PyString>()
                .ok()?
                .to_str()
                .ok()?
                .to_owned(),
        )
    };
    let number = |object: &Bound<'_, PyAny>| {
        let integer = object.cast::<PyInt>().ok()?;
        integer.extract::<i32>().ok()
    };
    let [family, kind, protocol, flags] = numbers;
    Some(Question {
        host,
        port,
        family: number(family)?,
        kind: number(kind)?,
        protocol: number(protocol)?,
        flags: number(flags)?,
    })
}

impl Question {
    fn has_named_port(&self) -> bool {
        matches!(self.port, Port::Name(_))
    }

    /// Whether no file takes part in the answer, and neither do routes and interfaces.
    fn is_numeric(&self) -> bool {
        !self.has_named_port()
            && self.flags & libc::AI_ADDRCONFIG == 0
            && self.host.parse::<IpAddr>().is_ok()
    }
}

/// Whether nsswitch.conf says that hosts are looked for in files first, whatever comes then.
fn files_come_first(nsswitch: &str) -> bool {
    let hosts = nsswitch
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hosts:"));
    hosts.is_some_and(|sources| {
        let mut sources = sources.split_whitespace();
        // An action in brackets may go on to others after a success.
        sources.next() == Some("files") && sources.next().is_none_or(|next| !next.starts_with('['))
    })
}

/// The names of a hosts file that have an IPv4 address, and those that have an IPv6 address.
fn names(hosts: &str) -> [HashSet<String>; 2] {
    let mut found = [HashSet::new(), HashSet::new()];
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        found[usize::from(address.is_ipv6())].extend(words.map(str::to_ascii_lowercase));
    }
    found
}

impl State {
    /// Forgets everything that depends on files if one has changed. `all`: the services, too.
    fn refresh(&mut self, files: &[String; FILES], all: bool) -> HashMap<Question, Py<PyList>> {
        let mut stamps = self.stamps;
        for (index, (stamp, file)) in stamps.iter_mut().zip(files).enumerate() {
            if index != SERVICES || all {
                *stamp = Stamp::of(file);
            }
        }
        if stamps == self.stamps {
            return HashMap::new();
        }
        self.stamps = stamps;
        self.generation += 1;
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        self.names = if files_come_first(&read(&files[NSSWITCH])) {
            names(&read(&files[HOSTS]))
        } else {
            Default::default()
        };
        std::mem::take(&mut self.answers)
    }

    /// Whether the hosts file alone answers this.
    fn decides(&self, question: &Question) -> bool {
        let name = question.host.to_ascii_lowercase();
        let [four, six] = &self.names;
        question.flags & libc::AI_ADDRCONFIG == 0
            && match question.family {
                libc::AF_INET => four.contains(&name),
                libc::AF_INET6 => six.contains(&name),
                libc::AF_UNSPEC => four.contains(&name) || six.contains(&name),
                _ => false,
            }
    }
}

/// Whether the order of these entries cannot depend on the routes of the moment.
fn is_steady(answer: &Bound<'_, PyList>) -> bool {
    let addresses: Option<HashSet<IpAddr>> = answer
        .iter()
        .map(|entry| {
            let address = entry.get_item(4).ok()?.get_item(0).ok()?;
            address.extract::<String>().ok()?.parse().ok()
        })
        .collect();
    addresses.is_some_and(|all| all.len() == 1 || all.iter().all(IpAddr::is_loopback))
}

#[pymethods]
impl HostsCache {
    /// *folder* holds `hosts`, `nsswitch.conf`, `gai.conf` and `services`; None is the system's.
    #[new]
    #[pyo3(signature = (folder=None))]
    fn new(folder: Option<&str>) -> HostsCache {
        let folder = folder.unwrap_or("/etc");
        let file = |name| format!("{folder}/{name}");
        HostsCache {
            files: [
                file("hosts"),
                file("nsswitch.conf"),
                file("gai.conf"),
                file("services"),
            ],
            state: GilCell::default(),
        }
    }

    /// Look an answer up: a new list, or the number of the present state of the files, for `keep`.
    ///
    /// The arguments are those of `socket.getaddrinfo`. *May switch: no.*
    #[allow(clippy::too_many_arguments, reason = "those of getaddrinfo")]
    fn look<'py>(
        &self,
        py: Python<'py>,
        host: &Bound<'py, PyAny>,
        port: &Bound<'py, PyAny>,
        family: &Bound<'py, PyAny>,
        r#type: &Bound<'py, PyAny>,
        proto: &Bound<'py, PyAny>,
        flags: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let question = question(host, port, [family, r#type, proto, flags]);
        let numeric = question.as_ref().is_some_and(Question::is_numeric);
        let (old, found, generation) = self.state.with(py, |state| {
            let (old, answers) = if numeric {
                (HashMap::new(), &state.numeric)
            } else {
                let named = matches!(&question, Some(question) if question.has_named_port());
                (state.refresh(&self.files, named), &state.answers)
            };
            let found = question.and_then(|question| answers.get(&question));
            (
                old,
                found.map(|answer| answer.clone_ref(py)),
                state.generation,
            )
        });
        drop(old);
        match found {
            Some(answer) => {
                let answer = answer.into_bound(py);
                Ok(answer.get_slice(0, answer.len()).into_any())
            }
            None => Ok(generation.into_pyobject(py)?.into_any()),
        }
    }

    /// Keep *answer* (a list, which is copied) if local files alone have decided it; whether it was kept.
    ///
    /// *generation*: what `look` said before the question was asked. *May switch: no.*
    #[allow(clippy::too_many_arguments, reason = "those of getaddrinfo and two")]
    fn keep<'py>(
        &self,
        py: Python<'py>,
        generation: u64,
        answer: &Bound<'py, PyList>,
        host: &Bound<'py, PyAny>,
        port: &Bound<'py, PyAny>,
        family: &Bound<'py, PyAny>,
        r#type: &Bound<'py, PyAny>,
        proto: &Bound<'py, PyAny>,
        flags: &Bound<'py, PyAny>,
    ) -> bool {
        let Some(question) = question(host, port, [family, r#type, proto, flags]) else {
            return false;
        };
        if !is_steady(answer) {
            return false;
        }
        let copy = answer.get_slice(0, answer.len()).unbind();
        if question.is_numeric() {
            let old = self.state.with(py, |state| {
                let full = state.numeric.len() >= MOST;
                let old = full.then(|| std::mem::take(&mut state.numeric));
                (old, state.numeric.insert(question, copy))
            });
            drop(old);
            return true;
        }
        let (old, kept) = self.state.with(py, |state| {
            let old = state.refresh(&self.files, question.has_named_port());
            let room = state.answers.len() < MOST;
            let kept = room && state.generation == generation && state.decides(&question);
            let copy = if kept {
                state.answers.insert(question, copy)
            } else {
                Some(copy)
            };
            ((old, copy), kept)
        });
        drop(old);
        kept
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.state
            .with(py, |state| state.answers.len() + state.numeric.len())
    }
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<HostsCache>()
}
