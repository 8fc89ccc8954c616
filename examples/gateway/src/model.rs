//! The reference: a cache that is strictly least recently used, over the same
//! bytes and entries, given the same requests one after the other.

use crate::log::Log;
use crate::outcome::{ratio, Outcome};
use std::collections::{BTreeMap, HashMap};

/// A strict LRU cache that knows sizes only.
pub struct StrictLru {
    max_bytes: u64,
    max_entries: usize,
    bytes: u64,
    clock: u64,
    /// When a page was last used, and its size.
    entries: HashMap<u32, (u64, u64)>,
    /// The pages by when they were last used.
    order: BTreeMap<u64, u32>,
}

impl StrictLru {
    /// An empty cache.
    pub fn new(max_bytes: u64, max_entries: usize) -> StrictLru {
        StrictLru {
            max_bytes,
            max_entries,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// Whether it has the page; if so, the page is now the most recent.
    pub fn get(&mut self, page: u32) -> bool {
        let Some((used, _)) = self.entries.get_mut(&page) else {
            return false;
        };
        self.order.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.order.insert(self.clock, page);
        true
    }

    /// Stores a page that it does not have, in the place of the least recent ones.
    pub fn fill(&mut self, page: u32, size: u64) {
        if size > self.max_bytes || self.max_entries == 0 {
            return;
        }
        while self.bytes + size > self.max_bytes || self.entries.len() >= self.max_entries {
            let (_, oldest) = self.order.pop_first().expect("a full cache is not empty");
            let (_, freed) = (self.entries.remove(&oldest)).expect("each place is an entry's");
            self.bytes -= freed;
        }
        self.clock += 1;
        self.order.insert(self.clock, page);
        self.entries.insert(page, (self.clock, size));
        self.bytes += size;
    }
}

/// The hit ratio that strict LRU reaches on the requests that passed the
/// limiter. What the real cache could not fill, as the origin failed or was not
/// asked, the model does not fill either.
pub fn strict_hit_ratio(
    log: &Log,
    outcomes: &[Outcome],
    max_bytes: u64,
    max_entries: usize,
) -> f64 {
    let mut cache = StrictLru::new(max_bytes, max_entries);
    let (mut hits, mut asked) = (0, 0);
    for (request, outcome) in log.requests.iter().zip(outcomes) {
        if *outcome == Outcome::Limited {
            continue;
        }
        asked += 1;
        if cache.get(request.page) {
            hits += 1;
        } else if !matches!(outcome, Outcome::Failed | Outcome::Rejected) {
            let page = log.page(request);
            cache.fill(request.page, page.path.len() as u64 + u64::from(page.size));
        }
    }
    ratio(hits, asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Page, Request};
    use std::time::Duration;

    #[test]
    fn the_least_recent_page_goes_first() {
        let mut cache = StrictLru::new(1_000, 2);
        cache.fill(1, 10);
        cache.fill(2, 10);
        assert!(cache.get(1));
        cache.fill(3, 10);
        assert!(!cache.get(2) && cache.get(1) && cache.get(3));
    }

    #[test]
    fn a_large_page_takes_the_room_of_many() {
        let mut cache = StrictLru::new(100, 50);
        (0..10).for_each(|page| cache.fill(page, 10));
        cache.fill(10, 35);
        let kept: Vec<u32> = (0..=10).filter(|&page| cache.get(page)).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8, 9, 10]);
        cache.fill(11, 101);
        assert!(!cache.get(11) && cache.get(10));
    }

    #[test]
    fn it_fills_only_what_the_workers_could() {
        let log = Log {
            title: String::new(),
            requests: (0..6)
                .map(|time| Request {
                    time,
                    client: 0,
                    page: 0,
                })
                .collect(),
            clients: Vec::new(),
            pages: vec![Page {
                path: "/".into(),
                size: 9,
            }],
            run: Duration::ZERO,
            minute: Duration::ZERO,
            cast: None,
        };
        use Outcome::*;
        let outcomes = [Limited, Failed, Rejected, Fetched, Hit, Fetched];
        assert_eq!(strict_hit_ratio(&log, &outcomes, 10, 1), 2.0 / 5.0);
        assert_eq!(strict_hit_ratio(&log, &outcomes, 9, 1), 0.0);
        assert_eq!(strict_hit_ratio(&log, &[Limited; 6], 10, 1), 0.0);
    }
}
