//! Objects that `close()` can empty.

use forebay::Error;
use std::cell::{Ref, RefCell};

/// An object that a JavaScript class holds, until it is closed.
pub struct Handle<T> {
    what: &'static str,
    inner: RefCell<Option<T>>,
}

impl<T> Handle<T> {
    /// A handle; `what` names it in `the … is closed`.
    pub fn new(what: &'static str, inner: T) -> Self {
        Handle {
            what,
            inner: RefCell::new(Some(inner)),
        }
    }

    /// The object. Callers run no JavaScript while they hold the answer.
    pub fn get(&self) -> Result<Ref<'_, T>, Error> {
        Ref::filter_map(self.inner.borrow(), Option::as_ref)
            .map_err(|_| Error::Closed { what: self.what })
    }
}

/// Closing, whatever the object is.
pub trait Close {
    /// Lets go of the object; every later call answers that it is closed.
    fn close(&self);
}

impl<T> Close for Handle<T> {
    fn close(&self) {
        // Out of the cell first: dropping the last handle unmaps the region.
        let inner = self.inner.take();
        drop(inner);
    }
}
