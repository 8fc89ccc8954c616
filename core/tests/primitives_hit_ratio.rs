//! Hit ratios: a cache against a textbook LRU of as many entries, on requests
//! made up here and on recorded ones. Each request is a get, and a set on a
//! miss; values are small, so that only the number of entries matters.

#[path = "region_support/data.rs"]
mod data;

use forebay::{Cache, CacheOptions, Region};
use std::collections::{BTreeMap, HashMap};

/// A cache of exactly so many entries, in one shard or as many as it likes.
fn cache(entries: u64, shards: Option<u64>) -> Cache {
    let bytes = 512 * entries + (256 << 10);
    let region = Region::options()
        .bytes(bytes + (64 << 10))
        .private()
        .unwrap();
    let mut options = CacheOptions::new()
        .bytes(bytes)
        .max_entries(entries)
        .max_item(100);
    if let Some(shards) = shards {
        options = options.shards(shards);
    }
    region.cache("pages", options).unwrap()
}

fn hits(cache: &Cache, requests: &[u64]) -> u64 {
    let mut value = Vec::new();
    for key in requests {
        let key = key.to_le_bytes();
        match cache.get_into(key, &mut value) {
            Some(_) => assert_eq!(value, key),
            None => assert!(cache.set(key, key)),
        }
    }
    let stats = cache.stats();
    assert_eq!(stats.hits + stats.misses, requests.len() as u64);
    assert_eq!(stats.entries, cache.len());
    assert_eq!(
        stats.sets - stats.evictions,
        stats.entries,
        "only entries bound it"
    );
    stats.hits
}

/// The textbook: a hit or a set moves the entry to the front, the last one goes.
fn strict_hits(entries: usize, requests: &[u64]) -> u64 {
    let (mut used, mut order, mut hits) = (HashMap::new(), BTreeMap::new(), 0);
    for (now, key) in requests.iter().enumerate() {
        if let Some(last) = used.insert(*key, now) {
            order.remove(&last);
            hits += 1;
        }
        order.insert(now, *key);
        if used.len() > entries {
            let (_, oldest) = order.pop_first().unwrap();
            used.remove(&oldest);
        }
    }
    hits
}

fn percent(hits: u64, requests: &[u64]) -> f64 {
    hits as f64 * 100.0 / requests.len() as f64
}

/// Requests as people make them: few keys often, many seldom (Zipf, by the
/// inverse of its integral).
fn zipf(requests: usize, keys: f64, skew: f64) -> Vec<u64> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let power = 1.0 - skew;
    (0..requests)
        .map(|_| ((next() * (keys.powf(power) - 1.0) + 1.0).powf(1.0 / power)) as u64)
        .collect()
}

#[test]
fn a_cache_of_one_shard_hits_as_often_as_a_textbook_lru() {
    for skew in [0.6, 0.9, 1.2] {
        let requests = zipf(200_000, 20_000.0, skew);
        for entries in [1, 2, 10, 100, 1_000, 5_000] {
            let ours = percent(hits(&cache(entries, Some(1)), &requests), &requests);
            let strict = percent(strict_hits(entries as usize, &requests), &requests);
            assert!(
                (ours - strict).abs() <= 0.3,
                "skew {skew}, {entries} entries: {ours:.2} % of hits, textbook {strict:.2} %"
            );
        }
    }
}

#[test]
fn a_cache_of_many_shards_hits_nearly_as_often() {
    let requests = zipf(200_000, 20_000.0, 0.9);
    for (entries, shards) in [(1_000, 4), (4_000, 8), (4_000, 16)] {
        let ours = percent(hits(&cache(entries, Some(shards)), &requests), &requests);
        let strict = percent(strict_hits(entries as usize, &requests), &requests);
        assert!(
            ours >= strict - 1.0,
            "{entries} entries, {shards} shards: {ours:.2} % of hits, textbook {strict:.2} %"
        );
    }
}

#[test]
fn a_loop_one_longer_than_the_cache_is_the_worst_case_of_lru_and_a_shorter_one_the_best() {
    let round = |keys: u64| (0..10 * keys).map(|i| i % keys).collect::<Vec<u64>>();
    let (longer, shorter) = (round(101), round(100));
    assert_eq!(
        hits(&cache(100, Some(1)), &longer),
        strict_hits(100, &longer)
    );
    assert_eq!(hits(&cache(100, Some(1)), &shorter), 900);
}

/// The requests of a recorded trace, by the format of each.
fn trace(test: &str, name: &str) -> Option<Vec<u64>> {
    let file = match name {
        "web12" | "orm-busy" => format!("{name}.trace.xz"),
        "OLTP" => format!("{name}.lis.zst"),
        _ => format!("{name}.trace.gz"),
    };
    let path = data::file(test, &format!("traces/{file}"))?;
    let Some(bytes) = data::unpacked(&path) else {
        data::skip(
            &format!("{test}, {name}"),
            "its program to unpack is not installed",
        );
        return None;
    };
    let text = || String::from_utf8_lossy(&bytes).into_owned();
    Some(match name {
        // Big-endian numbers of four and of eight bytes.
        "web12" | "orm-busy" => numbers::<4>(&bytes, |word| u64::from(u32::from_be_bytes(word))),
        "corda" => numbers::<8>(&bytes, u64::from_be_bytes),
        // start, count: so many requests from start on.
        "OLTP" => text()
            .lines()
            .flat_map(|line| {
                let mut fields = line
                    .split_whitespace()
                    .map(|field| field.parse::<u64>().unwrap());
                let (start, count) = (fields.next().unwrap(), fields.next().unwrap());
                start..start + count
            })
            .collect(),
        // One number a line, and marks.
        _ => text()
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect(),
    })
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> u64) -> Vec<u64> {
    bytes
        .chunks_exact(N)
        .map(|word| number(word.try_into().unwrap()))
        .collect()
}

#[test]
fn on_recorded_requests_a_cache_hits_as_often_as_a_textbook_lru() {
    let test = "on_recorded_requests_a_cache_hits_as_often_as_a_textbook_lru";
    let Some(golden) = data::file(test, "traces/golden.tsv") else {
        return;
    };
    let golden = std::fs::read_to_string(golden).unwrap();
    let mut traces: HashMap<String, Option<Vec<u64>>> = HashMap::new();
    for line in golden.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| fields[i].parse::<u64>().unwrap();
        let name = fields[0];
        let requests = traces
            .entry(name.to_owned())
            .or_insert_with(|| trace(test, name));
        let Some(requests) = requests else {
            continue;
        };
        let (entries, strict) = (number(3), number(5));
        assert_eq!(requests.len() as u64, number(1), "{name} is read right");
        let ours = percent(hits(&cache(entries, Some(1)), requests), requests);
        let strict = percent(strict, requests);
        println!("{name}, {entries} entries: {ours:.2} %, textbook {strict:.2} %");
        assert!(
            (ours - strict).abs() <= 0.15,
            "{name}, {entries} entries: {ours:.2} % of hits, textbook {strict:.2} %"
        );
        let sharded = percent(hits(&cache(entries, None), requests), requests);
        assert!(
            sharded >= strict - 2.0,
            "{name}, {entries} entries, default shards: {sharded:.2} %"
        );
    }
}
