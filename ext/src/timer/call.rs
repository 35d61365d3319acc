//! `Call`: what a timer calls, and after how many seconds, in as little memory as the usual case needs.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyTuple};

use crate::object::Object;

/// A number of seconds as it was given; the usual kind without its object.
#[derive(Default)]
pub(super) enum Seconds {
    #[default]
    None,
    Float(f64),
    Object(Py<PyAny>),
}

impl Seconds {
    pub(super) fn new(seconds: &Bound<'_, PyAny>) -> Seconds {
        match seconds.cast_exact::<PyFloat>() {
            Ok(float) => Seconds::Float(float.value()),
            Err(_) if seconds.is_none() => Seconds::None,
            Err(_) => Seconds::Object(seconds.clone().unbind()),
        }
    }

    pub(super) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self {
            Seconds::None => py.None().into_bound(py),
            Seconds::Float(value) => PyFloat::new(py, *value).into_any(),
            Seconds::Object(object) => object.bind(py).clone(),
        }
    }
}

/// The arguments of a call; the usual kinds without a tuple.
pub(super) enum Arguments {
    None,
    One(Object),
    Many(Box<(Py<PyTuple>, Option<Py<PyDict>>)>),
}

pub(super) struct Call {
    /// The function.
    pub(super) callback: Object,
    /// What it is called with.
    pub(super) arguments: Arguments,
}

impl Call {
    #[inline]
    pub(super) fn new(
        callback: Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> Call {
        let plain = kwargs.as_ref().is_none_or(|kwargs| kwargs.is_empty());
        let arguments = match args.len() {
            0 if plain => Arguments::None,
            1 if plain => match args.get_item(0) {
                Ok(only) => Arguments::One(only.into()),
                Err(_) => unreachable!("the length is 1"),
            },
            _ => Arguments::Many(Box::new((args.unbind(), kwargs.map(Bound::unbind)))),
        };
        Call {
            callback: callback.into(),
            arguments,
        }
    }

    pub(super) fn make(self, py: Python<'_>) -> PyResult<()> {
        let callback = self.callback.into_bound(py);
        match self.arguments {
            Arguments::None => callback.call0(),
            Arguments::One(only) => callback.call1((only.into_bound(py),)),
            Arguments::Many(many) => {
                let (args, kwargs) = *many;
                let kwargs = kwargs.map(|kwargs| kwargs.into_bound(py));
                callback.call(args.into_bound(py), kwargs.as_ref())
            }
        }
        .map(drop)
    }

    pub(super) fn parts<'py>(&self, py: Python<'py>) -> PyResult<Parts<'py>> {
        let (args, kwargs) = match &self.arguments {
            Arguments::None => (PyTuple::empty(py), None),
            Arguments::One(only) => (PyTuple::new(py, [only.bind(py)])?, None),
            Arguments::Many(many) => (
                many.0.bind(py).clone(),
                many.1.as_ref().map(|kwargs| kwargs.bind(py).clone()),
            ),
        };
        let kwargs = kwargs.unwrap_or_else(|| PyDict::new(py));
        Ok((self.callback.bind(py), args, kwargs))
    }

    pub(super) fn clone(&self, py: Python<'_>) -> Call {
        let arguments = match &self.arguments {
            Arguments::None => Arguments::None,
            Arguments::One(only) => Arguments::One(only.clone()),
            Arguments::Many(many) => {
                let kwargs = many.1.as_ref().map(|kwargs| kwargs.clone_ref(py));
                Arguments::Many(Box::new((many.0.clone_ref(py), kwargs)))
            }
        };
        Call {
            callback: self.callback.clone(),
            arguments,
        }
    }

    /// Gives the references back at once, whoever has called us.
    pub(super) fn release(self, py: Python<'_>) {
        drop(self.callback);
        if let Arguments::Many(many) = self.arguments {
            let (args, kwargs) = *many;
            drop((
                args.into_bound(py),
                kwargs.map(|kwargs| kwargs.into_bound(py)),
            ));
        }
    }
}

/// Function, positional and keyword arguments.
pub(super) type Parts<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>);
