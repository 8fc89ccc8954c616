//! A log made up: the clients of an asset platform and one abuser.
//!
//! - Pages: 30,000, asked for after Zipf's law (exponent 1); sizes log-normal,
//!   300 B to 100 kB, about 6 kB on average, as bodies on the web are.
//! - Honest clients: as many as are needed to fill the log, in four tiers. Each
//!   asks evenly, with jitter, for a fifth of what its tier admits.
//! - The abuser: of tier Business, 1,000 requests a second from start to end (at
//!   most a tenth of the log, should the log be shorter than that).
//!
//! One minute of the limits lasts two seconds. The same seed gives the same log.

use crate::log::{Cast, Client, Log, Page, Request};
use crate::tier::{Tier, BASIC, BUSINESS, ENTERPRISE, MUSEUM};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};
use std::time::Duration;

const PAGES: usize = 30_000;
const ZIPF_EXPONENT: f64 = 1.0;
const MINUTE: Duration = Duration::from_secs(2);
/// What an honest client asks for, of what it may.
const HONEST_SHARE: f64 = 0.2;
/// How far a request may stray from its even place, in periods.
const JITTER: f64 = 0.4;
const ABUSE_PER_SECOND: u64 = 1_000;
/// Clients of each tier, in a hundred.
const MIX: [(Tier, u32); 4] = [(BASIC, 66), (BUSINESS, 17), (MUSEUM, 8), (ENTERPRISE, 9)];

/// Makes a log of `count` requests that lasts `run`.
pub fn generate(count: usize, run: Duration, seed: u64) -> Log {
    let mut random = StdRng::seed_from_u64(seed);
    let pages = pages(&mut random);
    let mut clients = vec![Client {
        name: "abuser".into(),
        tier: BUSINESS,
    }];
    let mut arrivals = abuse(count, run);
    while arrivals.len() < count {
        let tier = draw_tier(&mut random);
        let number = clients.len() as u32;
        arrivals.extend(
            honest_times(tier, run, &mut random)
                .into_iter()
                .take(count - arrivals.len())
                .map(|time| (time, number)),
        );
        clients.push(Client {
            name: format!("{}-{number:05}", tier.name.to_lowercase()),
            tier,
        });
    }
    arrivals.sort_unstable();

    // Ranks are 1 to PAGES, as whole floats.
    let popularity =
        Zipf::new(PAGES as f64, ZIPF_EXPONENT).expect("there are pages, and the exponent is > 0");
    let requests = arrivals
        .into_iter()
        .map(|(time, client)| Request {
            time,
            client,
            page: popularity.sample(&mut random) as u32 - 1,
        })
        .collect();
    Log {
        title: format!("generated, seed {seed}"),
        requests,
        clients,
        pages,
        run,
        minute: MINUTE,
        cast: Some(Cast { abuser: 0 }),
    }
}

fn pages(random: &mut StdRng) -> Vec<Page> {
    // A median of 2.5 kB and this spread give a mean of about 6 kB.
    let sizes = LogNormal::new(2_500f64.ln(), 1.3).expect("the spread is finite");
    (0..PAGES)
        .map(|rank| Page {
            path: match rank % 5 {
                0 => format!("/assets/{rank:05x}/thumb.webp"),
                1 => format!("/projects/{rank}"),
                2 => format!("/api/assets?page={rank}"),
                3 => format!("/exhibitions/{rank}/rooms"),
                _ => format!("/tiles/7/{}/{}.png", rank / 128, rank % 128),
            },
            size: sizes.sample(random).clamp(300.0, 100_000.0) as u32,
        })
        .collect()
}

fn draw_tier(random: &mut StdRng) -> Tier {
    let mut ticket = random.random_range(0..100);
    for (tier, share) in MIX {
        if ticket < share {
            return tier;
        }
        ticket -= share;
    }
    unreachable!("the shares add up to a hundred")
}

/// When an honest client asks: once a period, somewhere about its middle.
fn honest_times(tier: Tier, run: Duration, random: &mut StdRng) -> Vec<u64> {
    let run = run.as_nanos() as f64;
    let period = MINUTE.as_nanos() as f64 / (tier.per_minute as f64 * HONEST_SHARE);
    let phase = random.random_range(0.0..period);
    (0..)
        .map(|n| f64::from(n) * period + phase)
        .take_while(|&even| even < run)
        .map(|even| even + random.random_range(-JITTER..JITTER) * period)
        .map(|time| time.clamp(0.0, run - 1.0) as u64)
        .collect()
}

/// When the abuser, client 0, asks.
fn abuse(count: usize, run: Duration) -> Vec<(u64, u32)> {
    let run = run.as_nanos() as u64;
    let most = (run / 1_000_000_000 * ABUSE_PER_SECOND).min(count as u64 / 10);
    (0..most).map(|n| (n * (run / most), 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::TIERS;

    fn log() -> Log {
        generate(40_000, Duration::from_secs(4), 1)
    }

    #[test]
    fn the_same_seed_gives_the_same_log() {
        assert_eq!(log().requests, log().requests);
        let other = generate(40_000, Duration::from_secs(4), 2);
        assert_ne!(log().requests, other.requests);
    }

    #[test]
    fn it_has_the_asked_size_and_order() {
        for count in [1_000, 40_000] {
            let log = generate(count, Duration::from_secs(4), 1);
            assert_eq!(log.requests.len(), count);
            assert!(log.requests.is_sorted_by_key(|r| r.time));
            assert!(log.requests.last().unwrap().time < 4_000_000_000);
        }
    }

    #[test]
    fn honest_clients_ask_for_about_a_fifth_and_never_in_a_burst() {
        let log = generate(100_000, Duration::from_secs(16), 3);
        let mut times = vec![Vec::new(); log.clients.len()];
        for request in &log.requests {
            times[request.client as usize].push(request.time);
        }
        // The last client may have been cut short.
        for (client, times) in log.clients.iter().zip(&times).skip(1).rev().skip(1) {
            let demand = times.len() as f64;
            let may = client.tier.bound(log.minute, 16_000_000_000) - client.tier.per_minute as f64;
            assert!(
                (demand - may * HONEST_SHARE).abs() <= 1.0 + may * 0.01,
                "{client:?} {demand}"
            );
            // A full bucket would carry it through a standstill of seconds.
            for window in times.windows(1 + client.tier.per_minute as usize) {
                assert!(window[window.len() - 1] - window[0] > 5_000_000_000);
            }
        }
        assert!(TIERS
            .iter()
            .all(|tier| log.clients.iter().any(|c| c.tier == *tier)));
    }

    #[test]
    fn the_abuser_asks_a_thousand_times_a_second_from_start_to_end() {
        let log = log();
        let times: Vec<u64> = (log.requests.iter())
            .filter(|r| r.client == 0)
            .map(|r| r.time)
            .collect();
        assert_eq!(times.len(), 4_000);
        assert!(times[0] == 0 && times[3_999] > 3_990_000_000);
    }

    #[test]
    fn pages_are_as_bodies_on_the_web() {
        let sizes: Vec<u64> = log().pages.iter().map(|p| u64::from(p.size)).collect();
        assert!(sizes.iter().all(|s| (300..=100_000).contains(s)));
        let mean = sizes.iter().sum::<u64>() / sizes.len() as u64;
        assert!((5_000..7_000).contains(&mean), "{mean}");
    }
}
