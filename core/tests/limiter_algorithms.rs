//! Windows, several rates, strict memory, switches and live changes, as users
//! see them. The arithmetic has its own tests beside it.

use forebay::{
    take_all, Algorithm, Charge, Count, Error, Limiter, LimiterOptions, OnError, OnFull, Rate,
    Rates, Region, WindowOptions,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn region() -> Region {
    let options = Region::options().bytes(8 << 20).manual_clock(true);
    options.private().unwrap()
}

fn rates(text: &str) -> Rates {
    text.parse().unwrap()
}

fn admitted(limiter: &Limiter, key: &str, times: usize) -> usize {
    (0..times).filter(|_| limiter.allow(key)).count()
}

#[test]
fn ten_in_any_fifteen_minutes_are_ten_in_any_fifteen_minutes() {
    let region = region();
    let options = LimiterOptions::new(Rate::new(10, 15 * MINUTE)).algorithm(Algorithm::Sliding);
    let logins = region.limiter("logins", options).unwrap();
    let mut passed: Vec<u64> = Vec::new();
    // Bursts and trickles, for some hours.
    for i in 0..2_000u64 {
        region
            .advance(Duration::from_millis(i * i % 37_000))
            .unwrap();
        while logins.allow("ada") {
            passed.push(region.now());
        }
    }
    let window = (15 * MINUTE).as_nanos() as u64;
    for (i, from) in passed.iter().enumerate() {
        let within = passed[i..].iter().filter(|at| *at - from <= window).count();
        assert!(within <= 10, "{within} in one window");
    }
    // It gives back: never later than a slice, a seventh of the window.
    let longest = passed.windows(11).map(|eleven| eleven[10] - eleven[0]);
    let longest = longest.max().unwrap();
    assert!(longest <= window + window / 7 + 40_000_000_000, "{longest}");
}

#[test]
fn a_fixed_window_begins_with_the_first_token_and_gives_all_back_at_its_end() {
    let region = region();
    let options = LimiterOptions::new(Rate::per_minute(3)).algorithm(Algorithm::Fixed);
    let api = region.limiter("api", options).unwrap();
    region.advance(7 * SECOND).unwrap();
    assert_eq!(api.take("a").reset_after, MINUTE);
    region.advance(50 * SECOND).unwrap();
    assert_eq!(admitted(&api, "a", 5), 2);
    let refused = api.take("a");
    assert_eq!((refused.limit, refused.remaining), (3, 0));
    assert_eq!(refused.retry_after, Some(10 * SECOND));
    assert_eq!(refused.window, MINUTE);
    region.advance(10 * SECOND).unwrap();
    assert_eq!(admitted(&api, "a", 5), 3);
}

#[test]
fn every_verb_works_with_windows() {
    for algorithm in [Algorithm::Fixed, Algorithm::Sliding] {
        let region = region();
        let options = LimiterOptions::new(Rate::per_minute(10)).algorithm(algorithm);
        let api = region
            .limiter("api", options.tier("pro", Rate::per_minute(20)))
            .unwrap();
        assert_eq!(api.take_with("a", Charge::cost(4)).remaining, 6);
        assert_eq!(api.take_with("a", Charge::cost(11)).retry_after, None);
        assert_eq!(api.refund("a", 1).remaining, 7);
        assert_eq!(api.refund("a", 99).remaining, 10);
        assert_eq!(api.penalize("a", 12).remaining, 0);
        let pro = Charge::default().tier("pro");
        assert_eq!(
            api.peek_with("a", pro).remaining,
            8,
            "the count is the key's"
        );
        assert!(api.reset("a"));
        assert_eq!(api.peek("a").remaining, 10);
        // Blocks end when they should, whatever the window counts.
        api.block("a", 90 * SECOND);
        let blocked = api.take("a");
        assert_eq!(blocked.retry_after, Some(90 * SECOND), "{algorithm:?}");
        region
            .advance(90 * SECOND - Duration::from_nanos(1))
            .unwrap();
        assert!(!api.allow("a"));
        region.advance(Duration::from_nanos(1)).unwrap();
        assert!(api.allow("a"));
        assert!(!api.unblock("a"));
        // Places in windows to come.
        assert_eq!(admitted(&api, "b", 20), 10);
        let place = api.reserve("b", 5 * MINUTE).unwrap();
        assert!(place.wait() >= MINUTE && place.wait() <= 2 * MINUTE);
        assert!(!api.allow("b"));
        region.advance(place.wait()).unwrap();
        assert_eq!(api.peek("b").remaining, 9, "{algorithm:?}");
        let later = api.reserve_with("b", Charge::cost(10), SECOND);
        assert!(later.is_err());
    }
}

#[test]
fn several_rates_admit_what_all_of_them_do() {
    let region = region();
    let api = region.limiter("api", rates("5/s and 8/min")).unwrap();
    assert_eq!(admitted(&api, "a", 10), 5);
    let refused = api.take("a");
    assert_eq!((refused.limit, refused.retry_after), (5, Some(SECOND / 5)));
    region.advance(SECOND).unwrap();
    // Three of the eight a minute are left, and those refused cost nothing.
    assert_eq!(admitted(&api, "a", 10), 3);
    let refused = api.take("a");
    assert_eq!((refused.limit, refused.window), (8, MINUTE));
    assert!(refused.retry_after.unwrap() > 6 * SECOND);
    // All verbs are about all rates.
    assert_eq!(api.refund("a", 2).remaining, 2);
    assert!(api.reset("a"));
    assert_eq!(api.peek("a").remaining, 5);
    assert_eq!(api.penalize("a", 8).remaining, 0);
    assert_eq!(api.peek("a").limit, 8);
    let place = api.reserve("a", MINUTE).unwrap();
    assert_eq!(place.wait(), MINUTE / 8);
    assert!(place.cancel());
    api.block("a", MINUTE);
    assert_eq!(api.take("a").retry_after, Some(MINUTE));
    assert!(api.unblock("a"));
    let stats = api.stats();
    assert_eq!((stats.admitted, stats.refused), (9, 15));
    // Beside other limiters.
    let all = region.limiter("all", Rate::per_minute(1)).unwrap();
    let requests = || [("b", &api), ("", &all)].map(|(key, l)| l.request(key, Charge::default()));
    assert!(take_all(&requests()).unwrap().0);
    let (allowed, verdicts) = take_all(&requests()).unwrap();
    assert!(!allowed && verdicts[0].allowed && !verdicts[1].allowed);
    assert_eq!(verdicts[0].remaining, 4, "nothing was charged");
    // Who refused is told of it, not who would have admitted.
    let top: Vec<_> = all.top_refused().iter().map(|key| key.mark).collect();
    assert_eq!(top, [all.mark("")]);
    assert!(api
        .top_refused()
        .iter()
        .all(|key| key.mark != api.mark("b")));
}

#[test]
fn tiers_may_have_fewer_rates_or_none() {
    let region = region();
    let options = LimiterOptions::new(rates("5/s and 8/min"))
        .tier("slow", Rate::per_second(1))
        .tier("admin", Rate::UNLIMITED);
    let api = region.limiter("api", options).unwrap();
    let tier = |name| Charge::default().tier(name);
    assert!((0..100).all(|_| api.allow_with("a", tier("admin"))));
    assert_eq!(api.take_with("a", tier("admin")).limit, u64::MAX);
    assert!(api.allow_with("a", tier("slow")));
    assert!(!api.allow_with("a", tier("slow")));
    region.advance(10 * SECOND).unwrap();
    assert!((0..20).all(|_| {
        region.advance(SECOND).unwrap();
        api.allow_with("a", tier("slow"))
    }));
}

#[test]
fn threads_never_get_more_than_all_rates_allow() {
    let region = region();
    let api = region.limiter("api", rates("100/s and 150/min")).unwrap();
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| admitted(&api, "a", 200)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(total <= 100);
    region.advance(SECOND).unwrap();
    let rest = admitted(&api, "a", 200);
    assert!(total + rest <= 152);
    // What was taken back in races is there again.
    region.advance(MINUTE).unwrap();
    assert_eq!(admitted(&api, "a", 200), 100);
}

#[test]
fn a_strict_limiter_gives_a_flooded_key_nothing() {
    for on_full in [OnFull::Strict, OnFull::Lenient] {
        let region = region();
        let options = LimiterOptions::new(Rate::per_minute(5))
            .on_full(on_full)
            .max_keys(50);
        let logins = region.limiter("logins", options).unwrap();
        assert_eq!(admitted(&logins, "ada", 9), 5);
        let mut more = 0;
        for i in 0..20_000u32 {
            logins.take_with(i.to_le_bytes(), Charge::cost(5));
            more += admitted(&logins, "ada", usize::from(i % 100 == 0));
        }
        assert_eq!(more > 0, on_full == OnFull::Lenient);
        assert_eq!(logins.stats().evicted_live > 0, on_full == OnFull::Lenient);
    }
}

/// Windows are not tighter in the order in which they end: a key whose window
/// was taken must not come back to another that has seen less.
#[test]
fn a_strict_limiter_of_windows_gives_a_flooded_key_nothing() {
    for algorithm in [Algorithm::Sliding, Algorithm::Fixed] {
        let region = region();
        let options = LimiterOptions::new(Rate::per_minute(10))
            .algorithm(algorithm)
            .on_full(OnFull::Strict)
            .max_keys(12);
        let logins = region.limiter("logins", options).unwrap();
        assert_eq!(logins.stats().slots, 16);
        assert_eq!(admitted(&logins, "ada", 8), 8);
        region.advance(25 * SECOND).unwrap();
        for i in 0..16u64 {
            // The last one takes ada's window, and ada those of the others; with
            // a place in the next window it is out of the way.
            let wait = if i == 15 { MINUTE } else { Duration::ZERO };
            let _ = logins.reserve_with(i.to_le_bytes(), Charge::cost(1 + i / 15 * 2), wait);
        }
        let more = admitted(&logins, "ada", 10);
        assert!(more <= 2, "{algorithm:?}: {more} more");
    }
}

#[test]
fn a_fixed_window_that_begins_within_a_millisecond_is_no_shorter() {
    let region = region();
    let options = LimiterOptions::new(Rate::per_minute(3)).algorithm(Algorithm::Fixed);
    let api = region.limiter("api", options).unwrap();
    region.advance(Duration::from_micros(7_500)).unwrap();
    assert!(api.take("a").reset_after >= MINUTE);
}

/// One limit's last token is asked for twice in a call, so that the second is
/// refused although a look said yes; the other's table is full, so that whoever
/// charges it first evicts somebody.
#[test]
fn a_call_that_is_refused_touches_what_it_must_and_leaves_all_as_it_was() {
    let region = region();
    let drained = region.limiter("drained", Rate::per_minute(100)).unwrap();
    let options = LimiterOptions::new(Rate::per_minute(50)).max_keys(12);
    let crowded = region.limiter("crowded", options).unwrap();
    (0..16u64).for_each(|i| assert!(crowded.allow(i.to_le_bytes())));
    assert!(drained.allow_with("a", Charge::cost(99)));
    let one = || drained.request("a", Charge::default());
    let new = || crowded.request("new", Charge::default());
    // The tightest first: the crowded one is not come to.
    assert!(!take_all(&[new(), one(), one()]).unwrap().0);
    assert_eq!(drained.peek("a").remaining, 1, "it is given back");
    assert_eq!(crowded.stats().evicted_live, 0);
    // And if one is known to refuse none is.
    assert!(drained.allow("a"));
    assert!(!take_all(&[new(), one()]).unwrap().0);
    assert_eq!(crowded.stats().evicted_live, 0);
}

#[test]
fn a_disabled_limiter_lets_everything_pass_and_counts_it() {
    let region = region();
    let options = || LimiterOptions::new(Rate::per_minute(1));
    let api = region.limiter("api", options().enabled(false)).unwrap();
    api.block("a", MINUTE);
    assert_eq!(admitted(&api, "a", 50), 50);
    assert_eq!(api.stats().admitted, 50);
    // Another worker switches it on; this one follows.
    region
        .limiter("api", options().on_error(OnError::Allow))
        .unwrap();
    assert!(!api.allow("a"), "the block stands");
    assert!(api.unblock("a"));
    assert_eq!(admitted(&api, "a", 50), 1, "nothing was charged meanwhile");
}

/// A window is the key's, whatever its tier: one that the longer tier began is
/// counted in by the shorter one, at once.
#[test]
fn tiers_with_fixed_windows_of_their_own_share_the_one_there_is() {
    let region = region();
    let options = LimiterOptions::new(Rate::per_minute(3)).algorithm(Algorithm::Fixed);
    let api = region
        .limiter("api", options.tier("pro", Rate::per_hour(10)))
        .unwrap();
    assert!(api.allow_with("a", Charge::default().tier("pro")));
    let verdict = api.take("a");
    assert_eq!((verdict.remaining, verdict.reset_after), (1, 60 * MINUTE));
    assert_eq!(admitted(&api, "a", 5), 1);
    assert_eq!(api.take("a").retry_after, Some(60 * MINUTE));
    assert!(api.allow_with("a", Charge::cost(7).tier("pro")));
}

/// What a key owes is time: `owed`. After a change from a bucket of `increment`
/// and `burst` to another, it has ⌊(burst' × increment' − owed) ÷ increment'⌋ tokens.
#[test]
fn a_change_of_rate_keeps_what_is_owed_as_time() {
    for (spent, before, after, remaining) in [
        // Five spent of ten a second owe half a second: of two a second, one.
        (5, "10/s", "2/s", 1),
        // Ten of ten a minute owe a minute, more than any bucket of 10/s holds.
        (10, "10/min", "10/s", 0),
        (1, "10/min", "20/min", 18),
        (3, "60/min burst 10", "60/min burst 2", 0),
        (3, "60/min burst 2", "60/min burst 10", 8),
    ] {
        let region = region();
        let [before, after] = [before, after].map(|text| text.parse::<Rate>().unwrap());
        let old = region.limiter("api", before).unwrap();
        admitted(&old, "a", spent);
        let new = region.limiter("api", after).unwrap();
        // The old handle follows: the newest opener's rates hold for all.
        for limiter in [&old, &new] {
            assert_eq!(
                limiter.peek("a").remaining,
                remaining,
                "{before} to {after}"
            );
            assert_eq!(limiter.peek("b").limit, limiter.peek("a").limit);
        }
    }
    // A window keeps its count.
    let region = region();
    let fixed = |count| LimiterOptions::new(Rate::per_minute(count)).algorithm(Algorithm::Fixed);
    let api = region.limiter("api", fixed(10)).unwrap();
    assert_eq!(admitted(&api, "a", 6), 6);
    region.limiter("api", fixed(8)).unwrap();
    assert_eq!(api.peek("a").remaining, 2);
    region.limiter("api", fixed(3)).unwrap();
    assert_eq!(api.peek("a").remaining, 0);
    assert_eq!(api.peek("a").retry_after, Some(MINUTE));
}

fn refusal(region: &Region, options: LimiterOptions) -> String {
    match region.limiter("api", options) {
        Err(error @ (Error::InvalidArgument { .. } | Error::Geometry { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_that_cannot_be_kept_are_refused_with_the_reason() {
    let sliding = |rate: Rate| LimiterOptions::new(rate).algorithm(Algorithm::Sliding);
    for (options, says) in [
        (
            LimiterOptions::new([]),
            "rate: got 0 rates; allowed: 1 to 4 rates",
        ),
        (LimiterOptions::new([Rate::per_second(1); 5]), "5 rates"),
        (
            LimiterOptions::new(Rate::per_second(1).and(Rate::UNLIMITED)),
            "alone",
        ),
        (sliding(Rate::per_second(10).burst(20)), "burst"),
        (sliding(Rate::new(10, SECOND / 2000)), "a millisecond"),
        (sliding(Rate::per_second(10_000_000)), "at most"),
        (
            sliding(Rate::new(1, Duration::from_secs(800 * 86_400 * 2))),
            "years",
        ),
        (sliding(Rate::per_second(0)), "at least 1"),
        (
            sliding(Rate::per_second(5)).tier("pro", Rate::per_minute(5)),
            "1s",
        ),
        (
            LimiterOptions::new(Rate::per_second(20_000_000)).algorithm(Algorithm::Fixed),
            "at most 8388607",
        ),
    ] {
        let region = region();
        let text = refusal(&region, options);
        assert!(text.contains(says), "{text}");
        assert_eq!(region.objects().len(), 0, "nothing was made: {text}");
    }
    // What was settled at the creation.
    let region = region();
    let made = sliding(Rate::per_minute(10)).on_full(OnFull::Strict);
    region.limiter("api", made.clone()).unwrap();
    for (options, says) in [
        (
            LimiterOptions::new(Rate::per_minute(10)).algorithm(Algorithm::Fixed),
            "'api' exists with algorithm = sliding, asked for fixed: ask for sliding, \
             leave algorithm out, or use another name",
        ),
        (
            made.clone().on_full(OnFull::Lenient),
            "'api' exists with on_full = strict, asked for lenient: ask for strict, \
             leave on_full out, or use another name",
        ),
        (
            sliding(Rate::per_second(10)),
            "'api' exists with window = 60s, asked for 1s: ask for 60s, or use another name",
        ),
        (
            LimiterOptions::new(rates("10/min and 20/h")),
            "'api' exists with rates = 1, asked for 2: ask for 1, or use another name",
        ),
        (
            sliding(Rate::per_minute(1000)),
            "at most 31 in a window of this limiter",
        ),
    ] {
        let text = refusal(&region, options);
        assert!(text.contains(says), "{text}");
    }
    // Without them it is as it is; and there is room for twice the count.
    let again = region.limiter("api", Rate::per_minute(20)).unwrap();
    assert_eq!(admitted(&again, "a", 50), 20);
}

/// The first hit tells a window's length, whatever later ones say: one that says
/// less is held against the limit, not against the time that is left.
#[test]
fn a_hit_that_asks_for_a_shorter_window_has_its_place_in_the_one_there_is() {
    let region = region();
    let hits = region.window("hits", WindowOptions::new()).unwrap();
    let (long, short) = (MINUTE, SECOND);
    hits.hit("a", long).unwrap();
    let second = hits.hit_with("a", short, 2, Some(3)).unwrap().unwrap();
    assert_eq!((second.count, second.resets_in), (3, long));
    let third = hits.hit_with("a", short, 1, Some(3)).unwrap().unwrap_err();
    assert_eq!((third.count, third.resets_in), (3, long));
    assert!(hits.hit_with("b", short, 4, Some(3)).unwrap().is_err());
    assert_eq!(hits.get("b"), Count::default());
    region.advance(long).unwrap();
    let next = hits.hit_with("a", short, 3, Some(3)).unwrap().unwrap();
    assert_eq!((next.count, next.resets_in), (3, short));
}
