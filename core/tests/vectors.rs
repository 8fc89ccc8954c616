//! The cases of `tests/vectors/*.json`, which every face runs.

use forebay::*;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

enum Object {
    Limiter(Limiter),
    Cache(Cache),
    Breaker(Breaker),
    Histogram(Histogram),
    Window(WindowCounter),
    Permits(Permits),
}

#[test]
fn every_case_of_every_vector_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut cases = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        for case in file["cases"].as_array().unwrap() {
            run(case);
            cases += 1;
        }
    }
    assert!(cases >= 30, "only {cases} cases");
}

fn run(case: &Value) {
    let name = case["name"].as_str().unwrap();
    let region = Region::options()
        .bytes(4 << 20)
        .manual_clock(true)
        .private()
        .unwrap();
    let mut objects = HashMap::new();
    let mut failure = None;
    for (name, options) in case["objects"].as_object().unwrap() {
        match open(&region, name, options) {
            Ok(object) => {
                objects.insert(name.clone(), object);
            }
            Err(e) => failure = Some(e),
        }
    }
    if let Some(expected) = case.get("error") {
        let error = failure.unwrap_or_else(|| panic!("{name}: opened"));
        assert_eq!(error.code().name(), expected["code"], "{name}");
        assert_eq!(error.to_string(), expected["message"], "{name}");
        return;
    }
    assert_eq!(failure, None, "{name}");
    let mut permits = HashMap::new();
    let mut reservations = HashMap::new();
    let mut leases = HashMap::new();
    for (i, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let at = format!("{name}, step {i}: {step}");
        if let Some(by) = step.get("advance_ns") {
            region
                .advance(Duration::from_nanos(by.as_u64().unwrap()))
                .unwrap();
            continue;
        }
        for _ in 0..step["times"].as_u64().unwrap_or(1) {
            let Some(on) = step["on"].as_str() else {
                loose_step(&objects, step, &at);
                continue;
            };
            match &objects[on] {
                Object::Limiter(limiter) => limiter_step(limiter, &mut reservations, step, &at),
                Object::Cache(cache) => cache_step(&region, cache, step, &at),
                Object::Window(window) => window_step(window, step, &at),
                Object::Permits(permits) => permits_step(permits, &mut leases, step, &at),
                Object::Breaker(breaker) => breaker_step(breaker, &mut permits, step, &at),
                Object::Histogram(histogram) => {
                    histogram_step(histogram, step, &at);
                    // `times` is part of this step.
                }
            }
        }
    }
    // What is left over must not count as failures in another case's region.
    drop(permits);
}

fn open(region: &Region, name: &str, options: &Value) -> Result<Object> {
    let number = |field: &str| options[field].as_u64();
    let small = |field: &str| number(field).map(|n| n as u32);
    let time = |field: &str| number(field).map(Duration::from_nanos);
    Ok(match options["kind"].as_str().unwrap() {
        "limiter" => {
            let mut o = LimiterOptions::new(options["rate"].as_str().unwrap().parse::<Rates>()?);
            for (tier, rate) in options["tiers"].as_object().into_iter().flatten() {
                o = o.tier(tier, rate.as_str().unwrap().parse::<Rates>()?);
            }
            if let Some(name) = options["algorithm"].as_str() {
                o = o.algorithm(name.parse()?);
            }
            if let Some(name) = options["on_full"].as_str() {
                o = o.on_full(name.parse()?);
            }
            if let Some(name) = options["on_error"].as_str() {
                o = o.on_error(name.parse()?);
            }
            if let Some(enabled) = options["enabled"].as_bool() {
                o = o.enabled(enabled);
            }
            if let Some(n) = number("max_keys") {
                o = o.max_keys(n);
            }
            if let Some(show) = options["show_keys"].as_bool() {
                o = o.show_keys(show);
            }
            Object::Limiter(region.limiter(name, o)?)
        }
        "cache" => {
            let mut o = CacheOptions::new();
            if let Some(n) = number("bytes") {
                o = o.bytes(n);
            }
            if let Some(n) = number("max_entries") {
                o = o.max_entries(n);
            }
            if let Some(n) = number("max_item") {
                o = o.max_item(n);
            }
            if let Some(n) = number("shards") {
                o = o.shards(n);
            }
            if let Some(t) = time("ttl_ns") {
                o = o.ttl(t);
            }
            Object::Cache(region.cache(name, o)?)
        }
        "breaker" => {
            let mut o = BreakerOptions::new();
            if let Some(n) = small("failure_threshold") {
                o = o.failure_threshold(n);
            }
            if let Some(rate) = options.get("failure_rate") {
                o = o.failure_rate(rate.as_f64());
            }
            if let Some(n) = small("volume_threshold") {
                o = o.volume_threshold(n);
            }
            if let Some(t) = time("window_ns") {
                o = o.window(t);
            }
            if let Some(t) = time("open_for_ns") {
                o = o.open_for(t);
            }
            if let Some(n) = small("success_threshold") {
                o = o.success_threshold(n);
            }
            if let Some(n) = small("half_open_calls") {
                o = o.half_open_calls(n);
            }
            if let Some(t) = time("probe_lease_ns") {
                o = o.probe_lease(t);
            }
            Object::Breaker(region.breaker(name, o)?)
        }
        "histogram" => Object::Histogram(region.histogram(name, None)?),
        "window" => {
            let mut o = WindowOptions::new();
            if let Some(n) = number("max_keys") {
                o = o.max_keys(n);
            }
            Object::Window(region.window(name, o)?)
        }
        "permits" => {
            let mut o = PermitsOptions::new(number("limit").unwrap());
            if let Some(t) = time("lease_ns") {
                o = o.lease(t);
            }
            if let Some(n) = number("max_leases") {
                o = o.max_leases(n);
            }
            Object::Permits(region.permits(name, o)?)
        }
        other => panic!("unknown kind {other}"),
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// The bytes in `FIELD`, `FIELD_hex`, `FIELD_repeat` or `FIELD_parts`.
fn bytes(step: &Value, field: &str) -> Option<Vec<u8>> {
    if let Some(text) = step[field].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    if let Some(hex) = step[format!("{field}_hex")].as_str() {
        return Some(unhex(hex));
    }
    if let Some(repeat) = step[format!("{field}_repeat")].as_array() {
        let text = repeat[0].as_str().unwrap();
        return Some(text.repeat(repeat[1].as_u64().unwrap() as usize).into());
    }
    let parts = step[format!("{field}_parts")].as_array()?;
    let parts: Vec<&[u8]> = parts
        .iter()
        .map(|part| part.as_str().unwrap().as_bytes())
        .collect();
    Some(join_parts(&parts, <[u8]>::to_vec))
}

/// Every field of `expected` equals that of `found`.
fn subset(expected: &Value, found: Value, at: &str) {
    for (field, value) in expected.as_object().unwrap() {
        let there = found
            .get(field)
            .unwrap_or_else(|| panic!("{at}: no field {field}"));
        assert_eq!(there, value, "{at}: {field}");
    }
}

fn nanoseconds(duration: Option<Duration>) -> Value {
    duration.map(|d| d.as_nanos() as u64).into()
}

fn charge(step: &Value) -> Charge<'_> {
    Charge {
        cost: step["cost"].as_u64().unwrap_or(1),
        tier: step["tier"].as_str(),
        now: None,
    }
}

fn check(expected: &Value, verdict: Verdict, at: &str) {
    let found = serde_json::json!({
        "allowed": verdict.allowed,
        "limit": verdict.limit,
        "remaining": verdict.remaining,
        "retry_after_ns": nanoseconds(verdict.retry_after),
        "reset_after_ns": nanoseconds(Some(verdict.reset_after)),
        "window_ns": nanoseconds(Some(verdict.window)),
    });
    subset(expected, found, at);
}

/// Steps that are not on one object.
fn loose_step(objects: &HashMap<String, Object>, step: &Value, at: &str) {
    let limiter = |part: &Value| match &objects[part["on"].as_str().unwrap()] {
        Object::Limiter(limiter) => limiter.clone(),
        _ => panic!("{at}: not a limiter"),
    };
    match step["do"].as_str().unwrap() {
        "take_all" => {
            let parts = step["requests"].as_array().unwrap();
            let limiters: Vec<_> = parts.iter().map(limiter).collect();
            let requests: Vec<_> = parts
                .iter()
                .zip(&limiters)
                .map(|(part, limiter)| limiter.request(bytes(part, "key").unwrap(), charge(part)))
                .collect();
            let (allowed, verdicts) = take_all(&requests).unwrap();
            assert_eq!(allowed, step["expect"], "{at}");
            for (expected, verdict) in step["verdicts"].as_array().unwrap().iter().zip(verdicts) {
                check(expected, verdict, at);
            }
        }
        "headers" => {
            let parts = step["take"].as_array().unwrap();
            let verdicts: Vec<_> = parts
                .iter()
                .map(|part| limiter(part).take_with(bytes(part, "key").unwrap(), charge(part)))
                .collect();
            let keys: Vec<_> = parts.iter().map(|part| bytes(part, "tell")).collect();
            let mut limits: Vec<_> = parts
                .iter()
                .zip(&verdicts)
                .map(|(part, verdict)| Limit::new(part["name"].as_str().unwrap(), verdict))
                .collect();
            for (limit, key) in limits.iter_mut().zip(&keys) {
                limit.key = key.as_deref();
            }
            let styles = step["styles"].as_array().unwrap().iter();
            let styles: Vec<HeaderStyle> = styles
                .map(|s| s.as_str().unwrap().parse().unwrap())
                .collect();
            let wall = Duration::from_nanos(step["wall_ns"].as_u64().unwrap());
            let found = headers(&limits, &styles, std::time::UNIX_EPOCH + wall).unwrap();
            assert_eq!(serde_json::json!(found), step["expect"], "{at}");
        }
        "client_address" => {
            let text = |field: &str| step[field].as_str().unwrap_or("").to_owned();
            let hops = step["trusted_hops"].as_u64().unwrap_or(0) as usize;
            let prefix = step["ipv6_prefix"].as_u64().unwrap_or(64) as u8;
            let found = ClientAddress::behind(&text("peer"), &text("forwarded_for"), hops)
                .and_then(|address| address.ipv6_prefix(prefix));
            match found {
                Ok(address) => assert_eq!(address.to_string(), step["expect"], "{at}"),
                Err(error) => {
                    assert_eq!(error.code().name(), step["code"], "{at}");
                    assert_eq!(error.to_string(), step["message"], "{at}");
                }
            }
        }
        other => panic!("{at}: cannot {other}"),
    }
}

fn limiter_step(
    limiter: &Limiter,
    reservations: &mut HashMap<String, Reservation>,
    step: &Value,
    at: &str,
) {
    let charge = charge(step);
    let key = || bytes(step, "key").unwrap();
    let verdict = |verdict: Verdict| check(&step["expect"], verdict, at);
    let time = |field: &str| Duration::from_nanos(step[field].as_u64().unwrap());
    match step["do"].as_str().unwrap() {
        "allow" => assert_eq!(limiter.allow_with(key(), charge), step["expect"], "{at}"),
        "take" => verdict(limiter.take_with(key(), charge)),
        "peek" => verdict(limiter.peek_with(key(), charge)),
        "reset" => assert_eq!(limiter.reset(key()), step["expect"], "{at}"),
        "refund" => verdict(limiter.refund_with(key(), charge)),
        "penalize" => verdict(limiter.penalize_with(key(), charge)),
        "block" => limiter.block(key(), time("for_ns")),
        "unblock" => assert_eq!(limiter.unblock(key()), step["expect"], "{at}"),
        "reserve" => match limiter.reserve_with(key(), charge, time("max_wait_ns")) {
            Ok(reservation) => {
                let wait = nanoseconds(Some(reservation.wait()));
                assert_eq!(wait, step["expect"]["wait_ns"], "{at}");
                reservations.insert(step["as"].as_str().unwrap().to_owned(), reservation);
            }
            Err(_) => assert_eq!(step["expect"], "refused", "{at}"),
        },
        "cancel" => {
            let name = step["reservation"].as_str().unwrap();
            let reservation = reservations.remove(name).unwrap();
            assert_eq!(reservation.cancel(), step["expect"], "{at}");
        }
        "acquire" => verdict(limiter.acquire_with(key(), charge, time("timeout_ns"))),
        "enforce" => match limiter.enforce_with(key(), charge) {
            Ok(found) => verdict(found),
            Err(limited) => assert_eq!(limited.to_string(), step["message"], "{at}"),
        },
        "clear" => limiter.clear(),
        "forget_refused" => limiter.forget_refused(),
        "top_refused" => {
            let found = limiter.top_refused().into_iter().map(|refused| {
                serde_json::json!({
                    "count": refused.count, "over": refused.over,
                    "key": refused.key.map(|key| String::from_utf8(key).unwrap()),
                })
            });
            assert_eq!(found.collect::<Value>(), step["expect"], "{at}");
        }
        "tier_stats" => {
            let found = limiter.tier_stats().into_iter().map(|s| {
                serde_json::json!({
                    "tier": s.tier, "admitted": s.admitted, "refused": s.refused, "debts": s.debts,
                })
            });
            assert_eq!(found.collect::<Value>(), step["expect"], "{at}");
        }
        "stats" => {
            let s = limiter.stats();
            let found = serde_json::json!({
                "admitted": s.admitted, "refused": s.refused, "debts": s.debts,
                "evicted_live": s.evicted_live, "unknown_tier": s.unknown_tier, "contended": s.contended, "slots": s.slots,
            });
            subset(&step["expect"], found, at);
        }
        other => panic!("{at}: cannot {other}"),
    }
}

fn window_step(window: &WindowCounter, step: &Value, at: &str) {
    let key = || bytes(step, "key").unwrap();
    let time = |field: &str| Duration::from_nanos(step[field].as_u64().unwrap());
    let hits = step["hits"].as_u64().unwrap_or(1);
    let count = |count: Count| {
        serde_json::json!({
            "count": count.count, "resets_in_ns": nanoseconds(Some(count.resets_in)),
        })
    };
    match step["do"].as_str().unwrap() {
        "hit" => match window.hit_with(key(), time("window_ns"), hits, step["limit"].as_u64()) {
            Ok(hit) => {
                let counted = hit.is_ok();
                let mut found = count(hit.unwrap_or_else(|count| count));
                found["counted"] = counted.into();
                subset(&step["expect"], found, at);
            }
            Err(error) => {
                assert_eq!(error.code().name(), step["code"], "{at}");
                assert_eq!(error.to_string(), step["message"], "{at}");
            }
        },
        "get" => subset(&step["expect"], count(window.get(key())), at),
        "decrement" => subset(&step["expect"], count(window.decrement(key(), hits)), at),
        "reset" => assert_eq!(window.reset(key()), step["expect"], "{at}"),
        "block" => window.block(key(), time("for_ns")),
        "blocked_for" => {
            let wait = nanoseconds(Some(window.blocked_for(key())));
            assert_eq!(wait, step["expect_ns"], "{at}");
        }
        "unblock" => assert_eq!(window.unblock(key()), step["expect"], "{at}"),
        "clear" => window.clear(),
        "stats" => {
            let s = window.stats();
            let found = serde_json::json!({
                "hits": s.hits, "refused": s.refused, "evicted_live": s.evicted_live,
                "contended": s.contended, "slots": s.slots,
            });
            subset(&step["expect"], found, at);
        }
        other => panic!("{at}: cannot {other}"),
    }
}

fn permits_step(
    permits: &Permits,
    leases: &mut HashMap<String, permits::RawLease>,
    step: &Value,
    at: &str,
) {
    let key = || bytes(step, "key").unwrap();
    let lease = || step["lease"].as_str().unwrap().to_owned();
    match step["do"].as_str().unwrap() {
        "try_acquire" => match permits.try_acquire(key()) {
            Ok(lease) => {
                assert_eq!(step["expect"], "lease", "{at}");
                leases.insert(step["as"].as_str().unwrap().to_owned(), lease.into_raw());
            }
            Err(refused) => {
                let found = serde_json::json!({
                    "refused": refused.reason.name(),
                    "retry_after_ns": nanoseconds(refused.retry_after),
                });
                subset(&step["expect"], found, at);
            }
        },
        "release" => assert_eq!(
            permits.release_raw(leases[&lease()]),
            step["expect"],
            "{at}"
        ),
        "renew" => {
            let renewed = permits.renew_raw(leases[&lease()]);
            assert_eq!(renewed.is_some(), step["expect"], "{at}");
            leases.extend(renewed.map(|renewed| (lease(), renewed)));
        }
        "ends_in" => {
            let ends = nanoseconds(Some(permits.ends_in_raw(leases[&lease()])));
            assert_eq!(ends, step["expect_ns"], "{at}");
        }
        "in_use" => assert_eq!(permits.in_use(key()), step["expect"], "{at}"),
        "stats" => {
            let s = permits.stats();
            let found = serde_json::json!({
                "granted": s.granted, "refused": s.refused, "full": s.full, "busy": s.busy,
                "expired": s.expired, "reaped": s.reaped,
            });
            subset(&step["expect"], found, at);
        }
        other => panic!("{at}: cannot {other}"),
    }
}

fn cache_step(region: &Region, cache: &Cache, step: &Value, at: &str) {
    let key = || bytes(step, "key").unwrap();
    match step["do"].as_str().unwrap() {
        "set" => {
            let options = SetOptions {
                ttl: match step.get("ttl_ns") {
                    None => Ttl::Default,
                    Some(Value::Null) => Ttl::Never,
                    Some(n) => Ttl::For(Duration::from_nanos(n.as_u64().unwrap())),
                },
                codec: match step["codec"].as_str() {
                    None | Some("bytes") => Codec::Bytes,
                    Some("text") => Codec::Text,
                    Some(other) => panic!("{at}: codec {other}"),
                },
            };
            let value = bytes(step, "value").unwrap();
            assert_eq!(
                cache.set_with(key(), value, options),
                step["expect"],
                "{at}"
            );
        }
        "get" => assert_eq!(cache.get(key()), bytes(step, "expect"), "{at}"),
        "contains" => assert_eq!(cache.contains(key()), step["expect"], "{at}"),
        "delete" => assert_eq!(cache.delete(key()), step["expect"], "{at}"),
        "entry" => match cache.entry(key()) {
            None => assert_eq!(step["expect"], Value::Null, "{at}"),
            Some(entry) => {
                let mut into = Vec::new();
                let meta = cache.get_into(key(), &mut into).unwrap();
                let found = serde_json::json!({
                    "value": String::from_utf8_lossy(&entry.value),
                    "codec": entry.codec.number(),
                    "version": entry.version,
                    "age_ns": region.now() - meta.created,
                    "ttl_ns": nanoseconds(entry.ttl),
                });
                subset(&step["expect"], found, at);
            }
        },
        "clear" => cache.clear(),
        "len" => assert_eq!(cache.len(), step["expect"], "{at}"),
        "stats" => {
            let s = cache.stats();
            let found = serde_json::json!({
                "hits": s.hits, "misses": s.misses, "sets": s.sets, "deletes": s.deletes,
                "evictions": s.evictions, "expirations": s.expirations,
                "too_large": s.too_large, "busy": s.busy, "resets": s.resets,
                "entries": s.entries, "bytes_used": s.bytes_used,
                "bytes_capacity": s.bytes_capacity, "max_item": s.max_item,
                "max_entries": s.max_entries, "shards": s.shards,
            });
            subset(&step["expect"], found, at);
        }
        other => panic!("{at}: cannot {other}"),
    }
}

fn breaker_step(breaker: &Breaker, permits: &mut HashMap<String, Permit>, step: &Value, at: &str) {
    let mut permit = || permits.remove(step["permit"].as_str().unwrap()).unwrap();
    match step["do"].as_str().unwrap() {
        "enter" => match breaker.enter() {
            Ok(permit) => {
                assert_eq!(step["expect"], "permit", "{at}");
                permits.insert(step["as"].as_str().unwrap().to_owned(), permit);
            }
            Err(rejected) => {
                assert_eq!(step["expect"], "rejected", "{at}");
                let wait = nanoseconds(Some(rejected.retry_after));
                assert_eq!(wait, step["retry_after_ns"], "{at}");
            }
        },
        "success" => permit().success(),
        "failure" => permit().failure(),
        "ignore" => permit().ignore(),
        "state" => assert_eq!(breaker.state().name(), step["expect"], "{at}"),
        "stats" => {
            let s = breaker.stats();
            let found = serde_json::json!({
                "successes": s.successes, "failures": s.failures, "ignored": s.ignored,
                "rejected": s.rejected, "late": s.late, "opened": s.opened,
                "half_opened": s.half_opened, "closed": s.closed, "probes": s.probes,
            });
            subset(&step["expect"], found, at);
        }
        other => panic!("{at}: cannot {other}"),
    }
}

fn histogram_step(histogram: &Histogram, step: &Value, at: &str) {
    match step["do"].as_str().unwrap() {
        "record" => histogram.record_ns(step["ns"].as_u64().unwrap()),
        "percentile" => {
            let percent = step["percent"].as_f64().unwrap();
            let found = histogram.percentile(percent).unwrap();
            assert_eq!(nanoseconds(found), step["expect_ns"], "{at}");
        }
        "snapshot" => {
            let s = histogram.snapshot();
            let found = serde_json::json!({
                "count": s.count(),
                "sum_ns": nanoseconds(Some(s.sum())),
                "min_ns": nanoseconds(s.min()),
                "max_ns": nanoseconds(s.max()),
            });
            subset(&step["expect"], found, at);
        }
        other => panic!("{at}: cannot {other}"),
    }
}
