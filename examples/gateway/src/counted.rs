//! What the region itself says of the run, when all workers have left.

use crate::log::Log;
use crate::objects::Objects;
use crate::page;
use forebay::breaker::BreakerStats;
use forebay::cache::CacheStats;
use forebay::limiter::LimiterStats;

/// What it counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Of the limiter.
    pub clients: LimiterStats,
    /// Of the cache.
    pub pages: CacheStats,
    /// Of the breaker.
    pub origin: BreakerStats,
    /// Values in the histogram.
    pub recorded: u64,
}

impl Counted {
    /// Reads the statistics of all objects.
    pub fn read(objects: &Objects) -> Counted {
        Counted {
            clients: objects.clients.stats(),
            pages: objects.pages.stats(),
            origin: objects.origin.stats(),
            recorded: objects.latency.snapshot().count(),
        }
    }
}

/// What is in the cache after the run.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    /// Pages found.
    pub pages: u64,
    /// What is wrong with the first page that is wrong.
    pub wrong: Option<String>,
}

impl Leftovers {
    /// Reads every page of the log from the cache.
    pub fn read(objects: &Objects, log: &Log) -> Leftovers {
        let mut found = Leftovers::default();
        let mut body = Vec::new();
        for page in &log.pages {
            if objects.pages.get_into(&page.path, &mut body).is_some() {
                found.pages += 1;
                let wrong = page::difference(&page.path, page.size as usize, &body);
                found.wrong = found.wrong.or(wrong);
            }
        }
        found
    }
}
