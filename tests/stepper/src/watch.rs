//! Ends the program when a survivor hangs, and says where.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Nothing that is watched takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who waits for a sign of life.
#[derive(Clone, Default)]
pub struct Watch(Arc<(AtomicU64, Mutex<String>)>);

impl Watch {
    /// Begins to watch.
    pub fn start() -> Watch {
        let watch = Watch::default();
        let other = watch.clone();
        std::thread::spawn(move || loop {
            let (beats, what) = &*other.0;
            let before = beats.load(Relaxed);
            std::thread::sleep(PATIENCE);
            if beats.load(Relaxed) == before {
                let what = what.lock().unwrap_or_else(PoisonError::into_inner);
                eprintln!("error: {what}: no end in {PATIENCE:?}");
                std::process::exit(1);
            }
        });
        watch
    }

    /// A sign of life.
    pub fn beat(&self) {
        self.0 .0.fetch_add(1, Relaxed);
    }

    /// What is being done from now on.
    pub fn now(&self, what: &str) {
        self.beat();
        let mut said = self.0 .1.lock().unwrap_or_else(PoisonError::into_inner);
        what.clone_into(&mut said);
    }
}
