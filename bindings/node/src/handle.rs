//! Objects that `close()` can empty.

use forebay::Error;
use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

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

    /// The object, which is the caller's from now on.
    pub fn take(&self) -> Result<T, Error> {
        let inner = self.inner.take();
        inner.ok_or(Error::Closed { what: self.what })
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

/// What was opened through a region, and closes with it.
#[derive(Default)]
pub struct Opened(RefCell<Vec<Weak<dyn Close>>>);

impl Opened {
    /// A handle of an object, which closes with the others.
    pub fn adopt<T: 'static>(&self, what: &'static str, object: T) -> Rc<Handle<T>> {
        let handle = Rc::new(Handle::new(what, object));
        let mut objects = self.0.borrow_mut();
        // Those already collected go before the list would grow.
        if objects.len() == objects.capacity() {
            objects.retain(|object| object.strong_count() > 0);
        }
        let weak: Weak<dyn Close> = Rc::downgrade(&handle) as _;
        objects.push(weak);
        handle
    }

    /// Closes them all, the last one first: of places in a queue each then gives
    /// all of its tokens back, as nobody has taken any after it.
    pub fn close(&self) {
        for object in self.0.take().into_iter().rev() {
            if let Some(object) = object.upgrade() {
                object.close();
            }
        }
    }
}

/// Handles by number, for calls that act on several: JavaScript's objects hold
/// numbers, so a number whose handle was collected is in nobody's hands.
pub struct Numbered<T> {
    handles: RefCell<HashMap<u64, Weak<Handle<T>>>>,
    next: Cell<u64>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered {
            handles: RefCell::default(),
            next: Cell::new(0),
        }
    }
}

impl<T> Numbered<T> {
    /// A number for this handle.
    pub fn number(&self, handle: &Rc<Handle<T>>) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        let mut handles = self.handles.borrow_mut();
        if handles.len() == handles.capacity() {
            handles.retain(|_, handle| handle.strong_count() > 0);
        }
        handles.insert(number, Rc::downgrade(handle));
        number
    }

    /// The handle of this number.
    pub fn get(&self, number: u64) -> Option<Rc<Handle<T>>> {
        self.handles.borrow().get(&number)?.upgrade()
    }
}
