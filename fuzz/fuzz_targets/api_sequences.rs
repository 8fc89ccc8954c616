//! Any sequence of calls through the C interface: handles that are open, NULL,
//! closed or of another kind; lengths of 0, 1, many and `SIZE_MAX`; structs
//! whose `struct_size` is right, shorter, longer or senseless; numbers that are
//! none. Every call returns a status, no panic is among them, and outputs
//! change only where `docs/abi.md` says so. The library's own source is compiled
//! in, so that the sanitizer sees what it reads and writes.
#![no_main]
#![allow(dead_code, non_camel_case_types, clippy::missing_safety_doc)]

use libfuzzer_sys::fuzz_target;
use script::Script;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

#[path = "../../ffi/src/argument.rs"]
mod argument;
#[path = "../../ffi/src/breaker.rs"]
mod breaker;
#[path = "../../ffi/src/cache.rs"]
mod cache;
#[path = "../../ffi/src/handle.rs"]
mod handle;
#[path = "../../ffi/src/histogram.rs"]
mod histogram;
#[path = "../../ffi/src/http.rs"]
mod http;
#[path = "../../ffi/src/key.rs"]
mod key;
#[path = "../../ffi/src/limiter.rs"]
mod limiter;
#[path = "../../ffi/src/limiter_options.rs"]
mod limiter_options;
#[path = "../../ffi/src/permits.rs"]
mod permits;
#[path = "../../ffi/src/region.rs"]
mod region;
#[path = "../../ffi/src/sized.rs"]
mod sized;
#[path = "../../ffi/src/status.rs"]
mod status;
#[path = "../../ffi/src/together.rs"]
mod together;
#[path = "../../ffi/src/waiting.rs"]
mod waiting;
#[path = "../../ffi/src/window.rs"]
mod window;

mod counted;
mod script;

use breaker::*;
use cache::*;
use counted::Known;
use histogram::*;
use http::*;
use key::*;
use limiter::*;
use permits::{fb_permits_close, fb_permits_open};
use region::*;
use script::{Bytes, Grown, Out, Text};
use together::*;
use waiting::*;
use window::{fb_window_close, fb_window_open};

const OK: i32 = 0;
const MISS: i32 = 1;
const DENIED: i32 = 2;
const REJECTED: i32 = 3;
const LATE: i32 = 5;
const INVALID: i32 = -1;
const TOO_LARGE: i32 = -11;
const CLOSED: i32 = -13;
const PANIC: i32 = -99;

/// Handles of all kinds, as plain pointers: open ones, and closed ones that
/// are not used again yet.
#[derive(Default)]
struct Handles {
    open: [Vec<*mut c_void>; KINDS],
    closed: [Vec<*mut c_void>; KINDS],
}

const REGION: usize = 0;
const LIMITER: usize = 1;
const CACHE: usize = 2;
const BREAKER: usize = 3;
const HISTOGRAM: usize = 4;
const WINDOW: usize = 5;
const PERMITS: usize = 6;
const KINDS: usize = 7;

impl Handles {
    /// A handle of this kind, more often good than not; what a call that does
    /// not like it must say.
    fn pick(&self, kind: usize, script: &mut Script<'_>) -> (*mut c_void, Option<i32>) {
        let choose = |from: &[*mut c_void], script: &mut Script<'_>| match from.len() {
            0 => null_mut(),
            n => from[script.below(n)],
        };
        let (handle, answer) = match script.byte() % 16 {
            0 => (null_mut(), Some(INVALID)),
            1 => (choose(&self.closed[kind], script), Some(CLOSED)),
            2 => {
                let other = (kind + 1 + script.below(KINDS - 1)) % KINDS;
                (choose(&self.open[other], script), Some(INVALID))
            }
            3 => {
                let other = (kind + 1 + script.below(KINDS - 1)) % KINDS;
                (choose(&self.closed[other], script), Some(INVALID))
            }
            _ => (choose(&self.open[kind], script), None),
        };
        match handle.is_null() {
            true => (handle, Some(INVALID)),
            false => (handle, answer),
        }
    }

    fn opened(&mut self, kind: usize, status: i32, out: &Out<*mut c_void>) {
        if status == OK {
            let handle = out.value();
            assert!(!handle.is_null());
            // A reused cell is closed no more.
            self.closed[kind].retain(|closed| *closed != handle);
            self.open[kind].push(handle);
        }
    }

    fn close(&mut self, kind: usize, script: &mut Script<'_>) {
        // Cells are reused after 256 closings of a kind; this many handles
        // are remembered to be closed.
        if self.closed[kind].len() > 100 {
            self.closed[kind].clear();
        }
        let (handle, answer) = self.pick(kind, script);
        let status = close(kind, handle);
        match answer {
            _ if handle.is_null() => assert_eq!(status, OK),
            Some(answer) => assert_eq!(status, answer),
            None => {
                assert_eq!(status, OK);
                self.open[kind].retain(|open| *open != handle);
                self.closed[kind].push(handle);
            }
        }
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for kind in 0..KINDS {
            for handle in &self.open[kind] {
                assert_eq!(close(kind, *handle), OK);
            }
        }
    }
}

fn close(kind: usize, handle: *mut c_void) -> i32 {
    // SAFETY: NULL, or a pointer that came from an `_open`.
    unsafe {
        match kind {
            REGION => fb_region_close(handle.cast()),
            LIMITER => fb_limiter_close(handle.cast()),
            CACHE => fb_cache_close(handle.cast()),
            BREAKER => fb_breaker_close(handle.cast()),
            WINDOW => fb_window_close(handle.cast()),
            PERMITS => fb_permits_close(handle.cast()),
            _ => fb_histogram_close(handle.cast()),
        }
    }
}

/// What holds for all calls: a known status, and for a bad handle its error.
fn check(status: i32, bad: Option<i32>) -> i32 {
    assert!((-17..=6).contains(&status), "status {status}");
    assert_ne!(status, PANIC);
    if let Some(answer) = bad {
        assert_eq!(status, answer);
    }
    status
}

fn rate(script: &mut Script<'_>, text: &Text) -> fb_rate {
    match script.byte() % 4 {
        0 => fb_rate {
            text: text.pointer(),
            count: 0,
            per_ns: 0,
            burst: 0,
        },
        1 => fb_rate {
            text: text.pointer(),
            count: script.number(),
            per_ns: script.number(),
            burst: script.number(),
        },
        _ => fb_rate {
            text: null(),
            count: script.number(),
            per_ns: script.number(),
            burst: script.number(),
        },
    }
}

fn open_region(handles: &mut Handles, known: &mut Known, script: &mut Script<'_>) {
    let text = Text::new(script);
    let private = script.byte() % 4 != 0;
    let options = Grown::<fb_region_options>::new(
        fb_region_options {
            struct_size: 0,
            flags: match script.byte() % 8 {
                0 => script.number() as u32,
                flags => u32::from(flags) | 8,
            },
            name_or_path: if private { null() } else { text.pointer() },
            // Never so much that the machine would notice.
            bytes: [
                1 << 17,
                1 << 16,
                1 << 20,
                0,
                1,
                (1 << 17) + 4,
                u64::MAX,
                (1 << 40) + 8,
            ][usize::from(script.byte() % 8)],
            mode: [0, 0, 0o600, 0o660, 0o666, u32::MAX][usize::from(script.byte() % 6)],
            reserved: u32::from(script.byte() % 16 == 0),
        },
        script,
    );
    let region = Out::<*mut c_void>::new(script);
    // SAFETY: pointers are NULL or valid for what their struct says.
    let status = check(
        unsafe { fb_region_open(options.pointer(), region.pointer().cast()) },
        None,
    );
    region.check(status, &[OK]);
    handles.opened(REGION, status, &region);
    if status == OK {
        known.opened_region(region.value(), private);
    }
}

fn open_object(kind: usize, handles: &mut Handles, known: &mut Known, script: &mut Script<'_>) {
    let (region, bad) = handles.pick(REGION, script);
    let name = Text::new(script);
    let texts = [Text::new(script), Text::new(script)];
    let out = Out::<*mut c_void>::new(script);
    let in_region = region;
    let (region, place) = (region.cast::<fb_region>(), out.pointer());
    let mut limit = None;
    // SAFETY: pointers are NULL or valid for what their struct says.
    let status = unsafe {
        match kind {
            LIMITER => {
                let tiers: Vec<fb_tier> = (0..script.byte() % 20)
                    .map(|i| fb_tier {
                        name: texts[usize::from(i % 2)].pointer(),
                        rate: rate(script, &texts[1]),
                    })
                    .collect();
                let rates: Vec<fb_rate> = (0..script.byte() % 6)
                    .map(|_| rate(script, &texts[0]))
                    .collect();
                let several = script.byte() % 4 == 0;
                // Most of them what there is, one in four anything.
                let choice = |script: &mut Script<'_>| match script.byte() % 4 {
                    0 => script.number() as u32,
                    n => u32::from(n),
                };
                let options = Grown::new(
                    fb_limiter_options {
                        struct_size: 0,
                        reserved: u32::from(script.byte() % 16 == 0),
                        rate: if several && script.byte() % 4 > 0 {
                            std::mem::zeroed()
                        } else {
                            rate(script, &texts[0])
                        },
                        tiers: if script.byte() % 8 == 0 {
                            null()
                        } else {
                            tiers.as_ptr()
                        },
                        tier_count: match script.byte() % 8 {
                            0 => usize::MAX,
                            1 => isize::MAX as usize / size_of::<fb_tier>() + 1,
                            _ => tiers.len(),
                        },
                        max_keys: script.number(),
                        rates: if several { rates.as_ptr() } else { null() },
                        rate_count: match script.byte() % 16 {
                            0 => usize::MAX,
                            1 => isize::MAX as usize / size_of::<fb_rate>() + 1,
                            _ if several => rates.len(),
                            _ => 0,
                        },
                        algorithm: choice(script),
                        on_full: choice(script),
                        on_error: choice(script),
                        flags: choice(script),
                    },
                    script,
                );
                fb_limiter_open(region, name.pointer(), options.pointer(), place.cast())
            }
            CACHE => {
                let options = Grown::new(
                    fb_cache_options {
                        struct_size: 0,
                        reserved: u32::from(script.byte() % 16 == 0),
                        bytes: script.number(),
                        max_entries: script.number(),
                        max_item: script.number(),
                        shards: script.number(),
                        ttl_ns: script.number(),
                    },
                    script,
                );
                fb_cache_open(region, name.pointer(), options.pointer(), place.cast())
            }
            BREAKER => {
                let options = Grown::new(
                    fb_breaker_options {
                        struct_size: 0,
                        failure_threshold: script.number() as u32,
                        failure_rate: script.float(),
                        window_ns: script.number(),
                        open_for_ns: script.number(),
                        probe_lease_ns: script.number(),
                        volume_threshold: script.number() as u32,
                        success_threshold: script.number() as u32,
                        half_open_calls: script.number() as u32,
                        reserved: u32::from(script.byte() % 16 == 0),
                    },
                    script,
                );
                fb_breaker_open(region, name.pointer(), options.pointer(), place.cast())
            }
            WINDOW => {
                let options = counted::window_options(script);
                fb_window_open(region, name.pointer(), options.pointer(), place.cast())
            }
            PERMITS => {
                let (options, asked) = counted::permits_options(script);
                limit = (!options.pointer().is_null()).then_some(asked);
                fb_permits_open(region, name.pointer(), options.pointer(), place.cast())
            }
            _ => {
                let reserved = u32::from(script.byte() % 4 == 0);
                let options = Grown::new(
                    fb_histogram_options {
                        struct_size: 0,
                        reserved,
                    },
                    script,
                );
                fb_histogram_open(region, name.pointer(), options.pointer(), place.cast())
            }
        }
    };
    check(status, bad);
    out.check(status, &[OK]);
    handles.opened(kind, status, &out);
    if status == OK && kind >= WINDOW {
        known.opened(in_region, &name, out.value(), limit);
    }
}

/// An answer that grows: `call` gets the place for it.
fn answered<T>(script: &mut Script<'_>, bad: Option<i32>, call: impl FnOnce(*mut T) -> i32) {
    let place = Grown::<T>::for_answer(script);
    let status = check(call(place.pointer()), bad);
    place.check_answer(status);
}

fn on_region(handles: &Handles, known: &mut Known, script: &mut Script<'_>) {
    let (region, bad) = handles.pick(REGION, script);
    let region = region.cast::<fb_region>().cast_const();
    // SAFETY: handles are NULL or from an `_open`; places are NULL or valid.
    unsafe {
        match script.byte() % 6 {
            0 => {
                let now = Out::<u64>::new(script);
                let status = check(fb_region_now(region, now.pointer()), bad);
                now.check(status, &[OK]);
            }
            1 => {
                let by = script.number();
                if check(fb_region_advance(region, by), bad) == OK {
                    known.advanced(region.cast(), by);
                }
            }
            2 => {
                let (buf, len) = (Bytes::writable(script), Out::<usize>::new(script));
                let status = fb_region_path(region, buf.pointer().cast(), buf.len, len.pointer());
                check(status, bad);
                buf.check(status);
                len.check(status, &[OK, TOO_LARGE]);
            }
            3 => answered(script, bad, |place| fb_region_get_stats(region, place)),
            4 => {
                let cap = script.below(5);
                let mut places = Out::<[fb_object; 4]>::new(script);
                places.shorten(cap);
                let count = Out::<usize>::new(script);
                let status =
                    fb_region_objects(region, places.pointer().cast(), cap.min(4), count.pointer());
                check(status, bad);
                places.check(status, &[OK]);
                count.check(status, &[OK, TOO_LARGE]);
            }
            _ => {
                let cap = script.below(5);
                let mut places = Out::<[fb_event; 4]>::new(script);
                places.shorten(cap);
                let count = Out::<usize>::new(script);
                let (next, lost) = (Out::<u64>::new(script), Out::<u64>::new(script));
                let status = fb_region_events(
                    region,
                    script.number(),
                    places.pointer().cast(),
                    cap.min(4),
                    count.pointer(),
                    next.pointer(),
                    lost.pointer(),
                );
                check(status, bad);
                places.check(status, &[OK]);
                count.check(status, &[OK, TOO_LARGE]);
                next.check(status, &[OK, TOO_LARGE]);
                lost.check(status, &[OK, TOO_LARGE]);
            }
        }
        fb_event_name(script.number() as u32);
        status::fb_status_name(script.number() as i32);
    }
}

fn on_limiter(handles: &Handles, script: &mut Script<'_>) {
    let (limiter, bad) = handles.pick(LIMITER, script);
    let limiter = limiter.cast::<fb_limiter>().cast_const();
    let (key, tier) = (Bytes::readable(script), Text::new(script));
    let (k, n) = (key.pointer().cast_const(), key.len);
    let verdict = Out::<fb_verdict>::new(script);
    // SAFETY: as in `on_region`; bytes are NULL or valid for their length,
    // unless it is beyond what a length can be.
    unsafe {
        let status = match script.byte() % 12 {
            5 => fb_limiter_refund(limiter, k, n, script.number(), verdict.pointer()),
            6 => {
                let tokens = script.number();
                fb_limiter_refund_with(limiter, k, n, tokens, tier.pointer(), verdict.pointer())
            }
            7 => {
                let (tokens, now) = (script.number(), script.number());
                let (tier, verdict) = (tier.pointer(), verdict.pointer());
                fb_limiter_penalize_with(limiter, k, n, tokens, tier, now, verdict)
            }
            8 => {
                key.check_read(check(fb_limiter_block(limiter, k, n, script.number()), bad));
                key.check_read(check(fb_limiter_unblock(limiter, k, n), bad));
                return;
            }
            9 => return reserve(limiter, bad, &key, &tier, script),
            10 => {
                // Only what does not wait: no token is a second away here.
                let (cost, now) = (script.number(), script.number());
                let (tier, verdict) = (tier.pointer(), verdict.pointer());
                fb_limiter_acquire_with(limiter, k, n, cost, tier, now, 0, verdict)
            }
            0 => fb_limiter_take(limiter, k, n, verdict.pointer()),
            1 | 2 => {
                let (cost, now) = (script.number(), script.number());
                fb_limiter_take_with(limiter, k, n, cost, tier.pointer(), now, verdict.pointer())
            }
            3 => fb_limiter_peek(limiter, k, n, verdict.pointer()),
            4 => {
                let (cost, now) = (script.number(), script.number());
                fb_limiter_peek_with(limiter, k, n, cost, tier.pointer(), now, verdict.pointer())
            }
            _ => {
                check(fb_limiter_reset(limiter, k, n), bad);
                return answered(script, bad, |place| fb_limiter_get_stats(limiter, place));
            }
        };
        check(status, bad);
        key.check_read(status);
        verdict.check(status, &[OK, DENIED]);
        if status == OK && !verdict.pointer().is_null() {
            let verdict = verdict.value();
            assert!(verdict.remaining <= verdict.limit && verdict.retry_after_ns == 0);
        }
    }
}

unsafe fn reserve(
    limiter: *const fb_limiter,
    bad: Option<i32>,
    key: &Bytes,
    tier: &Text,
    script: &mut Script<'_>,
) {
    let (wait, due) = (Out::<u64>::new(script), Out::<fb_reservation>::new(script));
    let refusal = Out::<fb_verdict>::new(script);
    let (k, n) = (key.pointer().cast_const(), key.len);
    let (cost, now, most) = (script.number(), script.number(), script.number());
    // SAFETY: as in `on_limiter`.
    unsafe {
        let status = fb_limiter_reserve_with(
            limiter,
            k,
            n,
            cost,
            tier.pointer(),
            now,
            most,
            wait.pointer(),
            due.pointer(),
            refusal.pointer(),
        );
        check(status, bad);
        key.check_read(status);
        wait.check(status, &[OK]);
        due.check(status, &[OK]);
        refusal.check(status, &[DENIED]);
        let due = match status == OK && !due.pointer().is_null() {
            true => due.value(),
            false => fb_reservation {
                due_ns: script.number(),
                words: std::array::from_fn(|_| script.number()),
            },
        };
        let left = Out::<u64>::new(script);
        let status = check(
            fb_limiter_until_due(limiter, due.due_ns, left.pointer()),
            bad,
        );
        left.check(status, &[OK]);
        let status = fb_limiter_cancel_with(limiter, k, n, cost, tier.pointer(), &due);
        assert!(check(status, bad) <= OK || status == LATE);
    }
}

fn on_several(handles: &Handles, script: &mut Script<'_>) {
    let asked: Vec<_> = (0..script.below(18))
        .map(|_| {
            let (limiter, _) = handles.pick(LIMITER, script);
            (limiter, Bytes::readable(script), Text::new(script))
        })
        .collect();
    let requests: Vec<fb_request> = asked
        .iter()
        .map(|(limiter, key, tier)| fb_request {
            limiter: limiter.cast::<fb_limiter>().cast_const(),
            key: key.pointer().cast_const(),
            key_len: key.len,
            cost: script.number(),
            tier: tier.pointer(),
            now_ns: script.number(),
        })
        .collect();
    let mut verdicts: Vec<fb_verdict> = Vec::with_capacity(requests.len());
    // SAFETY: arrays of their lengths; handles and bytes as in `on_limiter`.
    unsafe {
        let room = verdicts.as_mut_ptr();
        let status = check(fb_take_all(requests.as_ptr(), requests.len(), room), None);
        assert!(requests.len() <= 16 || status == INVALID);
        if status < OK {
            return;
        }
        verdicts.set_len(requests.len());
    }
    let names: Vec<_> = verdicts
        .iter()
        .map(|_| (Text::new(script), Bytes::readable(script)))
        .collect();
    let limits: Vec<fb_limit> = names
        .iter()
        .zip(&verdicts)
        .map(|((name, key), verdict)| fb_limit {
            name: name.pointer(),
            verdict: *verdict,
            key: key.pointer().cast_const(),
            key_len: key.len,
        })
        .collect();
    let styles = [
        c"legacy",
        c"legacy-delta,draft-6",
        c"draft-7",
        c"draft-8,draft-10",
        c"none",
    ];
    let into = Bytes::writable(script);
    let length = Out::<usize>::new(script);
    // SAFETY: as above, and texts that end with NUL.
    unsafe {
        let status = fb_headers(
            limits.as_ptr(),
            limits.len(),
            styles[script.below(styles.len())].as_ptr(),
            script.number(),
            into.pointer().cast(),
            into.len,
            length.pointer(),
        );
        check(status, None);
        length.check(status, &[OK, TOO_LARGE]);
    }
}

fn on_address(script: &mut Script<'_>) {
    let (peer, forwarded) = (Text::new(script), Bytes::readable(script));
    let into = Bytes::writable(script);
    let length = Out::<usize>::new(script);
    let peers = [c"203.0.113.9", c"[2001:db8::1]:80", c"::ffff:1.2.3.4"];
    let peer = match script.byte() % 2 {
        0 => peer.pointer(),
        _ => peers[script.below(peers.len())].as_ptr(),
    };
    // SAFETY: as in `on_limiter`.
    unsafe {
        let status = fb_client_address(
            peer,
            forwarded.pointer().cast_const().cast(),
            forwarded.len,
            script.number() as usize,
            script.number() as u32,
            into.pointer().cast(),
            into.len,
            length.pointer(),
        );
        check(status, None);
        length.check(status, &[OK, TOO_LARGE]);
    }
}

unsafe extern "C" fn nowhere(_: *mut c_void, _: usize) -> *mut c_void {
    null_mut()
}

unsafe extern "C" fn somewhere(context: *mut c_void, len: usize) -> *mut c_void {
    // SAFETY: the context is the vector that `on_cache` gave.
    let memory = unsafe { &mut *context.cast::<Vec<u8>>() };
    memory.clear();
    memory.resize(len.max(1), 0);
    memory.as_mut_ptr().cast()
}

fn on_cache(handles: &Handles, script: &mut Script<'_>) {
    let (cache, bad) = handles.pick(CACHE, script);
    let cache = cache.cast::<fb_cache>().cast_const();
    let key = Bytes::readable(script);
    let (k, n) = (key.pointer().cast_const(), key.len);
    let len = Out::<usize>::new(script);
    // SAFETY: as in `on_limiter`.
    unsafe {
        let status = match script.byte() % 10 {
            0 => {
                let buf = Bytes::writable(script);
                let status = fb_cache_get(cache, k, n, buf.pointer(), buf.len, len.pointer());
                len.check(status, &[OK, TOO_LARGE]);
                status
            }
            1 => {
                let mut memory: Vec<u8> = Vec::new();
                let place: fb_place_fn = match script.byte() % 4 {
                    0 => None,
                    1 => Some(nowhere),
                    _ => Some(somewhere),
                };
                let context = (&raw mut memory).cast();
                let status = fb_cache_get_with(cache, k, n, place, context, len.pointer());
                len.check(status, &[OK, TOO_LARGE]);
                status
            }
            2 => {
                let buf = Bytes::writable(script);
                let entry = Grown::<fb_entry>::for_answer(script);
                let status = fb_cache_entry(
                    cache,
                    k,
                    n,
                    buf.pointer(),
                    buf.len,
                    len.pointer(),
                    entry.pointer(),
                );
                len.check(status, &[OK, TOO_LARGE]);
                entry.check_answer(status);
                status
            }
            3 => fb_cache_contains(cache, k, n),
            4 | 5 => {
                let value = Bytes::readable(script);
                fb_cache_set(cache, k, n, value.pointer(), value.len)
            }
            6 => {
                let value = Bytes::readable(script);
                let (ttl, codec) = (script.number(), script.number() as u32);
                fb_cache_set_with(cache, k, n, value.pointer(), value.len, ttl, codec)
            }
            7 => fb_cache_delete(cache, k, n),
            8 => {
                check(fb_cache_clear(cache), bad);
                return;
            }
            _ => {
                let entries = Out::<u64>::new(script);
                let status = check(fb_cache_len(cache, entries.pointer()), bad);
                entries.check(status, &[OK]);
                return answered(script, bad, |place| fb_cache_get_stats(cache, place));
            }
        };
        check(status, bad);
        key.check_read(status);
    }
}

fn on_breaker(handles: &Handles, permits: &mut Vec<u64>, script: &mut Script<'_>) {
    let (breaker, bad) = handles.pick(BREAKER, script);
    let breaker = breaker.cast::<fb_breaker>().cast_const();
    let permit = match script.byte() % 4 {
        0 => script.number(),
        _ => permits.last().copied().unwrap_or(0),
    };
    // SAFETY: as in `on_region`.
    unsafe {
        match script.byte() % 6 {
            0 | 1 => {
                let (permit, wait) = (Out::<u64>::new(script), Out::<u64>::new(script));
                let status = fb_breaker_enter(breaker, permit.pointer(), wait.pointer());
                check(status, bad);
                permit.check(status, &[OK]);
                wait.check(status, &[REJECTED]);
                if status == OK {
                    permits.push(permit.value());
                }
            }
            2 => {
                check(fb_breaker_success(breaker, permit), bad);
            }
            3 => {
                check(fb_breaker_failure(breaker, permit), bad);
            }
            4 => {
                check(fb_breaker_ignore(breaker, permit), bad);
            }
            _ => {
                let state = Out::<u32>::new(script);
                let status = check(fb_breaker_state(breaker, state.pointer()), bad);
                state.check(status, &[OK]);
                answered(script, bad, |place| fb_breaker_get_stats(breaker, place));
            }
        }
    }
}

fn on_histogram(handles: &Handles, script: &mut Script<'_>) {
    let (histogram, bad) = handles.pick(HISTOGRAM, script);
    let histogram = histogram.cast::<fb_histogram>().cast_const();
    // SAFETY: as in `on_region`.
    unsafe {
        match script.byte() % 5 {
            0 => {
                check(fb_histogram_record_ns(histogram, script.number()), bad);
            }
            1 => {
                let ns = Out::<u64>::new(script);
                let status = fb_histogram_percentile(histogram, script.float(), ns.pointer());
                check(status, bad);
                ns.check(status, &[OK]);
            }
            2 => {
                let percents = [script.float(), script.float(), 50.0];
                let ns = Out::<[u64; 3]>::new(script);
                let count = [0, 1, 3, usize::MAX][usize::from(script.byte() % 4)];
                let given = if script.byte() % 8 == 0 {
                    null()
                } else {
                    percents.as_ptr()
                };
                let status = fb_histogram_percentiles(histogram, given, ns.pointer().cast(), count);
                check(status, bad);
                if count != 0 {
                    ns.check(status, &[OK]);
                }
            }
            3 => answered(script, bad, |place| fb_histogram_snapshot(histogram, place)),
            _ => {
                let cap = script.below(5);
                let mut places = Out::<[fb_bucket; 4]>::new(script);
                places.shorten(cap);
                let count = Out::<usize>::new(script);
                let status = fb_histogram_buckets(
                    histogram,
                    places.pointer().cast(),
                    cap.min(4),
                    count.pointer(),
                );
                check(status, bad);
                places.check(status, &[OK]);
                count.check(status, &[OK, TOO_LARGE]);
            }
        }
    }
}

fn join(script: &mut Script<'_>) {
    let parts: Vec<Bytes> = (0..script.byte() % 5)
        .map(|_| Bytes::readable(script))
        .collect();
    let pointers: Vec<*const c_void> = parts
        .iter()
        .map(|part| part.pointer().cast_const())
        .collect();
    let lens: Vec<usize> = parts.iter().map(|part| part.len).collect();
    let (buf, len) = (Bytes::writable(script), Out::<usize>::new(script));
    let count = if script.byte() % 16 == 0 {
        usize::MAX
    } else {
        parts.len()
    };
    // SAFETY: as in `on_limiter`.
    let status = unsafe {
        fb_key_join(
            pointers.as_ptr(),
            lens.as_ptr(),
            count,
            buf.pointer(),
            buf.len,
            len.pointer(),
        )
    };
    check(status, None);
    buf.check(status);
    // A part that is too large, or too many parts, tell no length.
    if status != TOO_LARGE {
        len.check(status, &[OK]);
    }
}

fn last_error(script: &mut Script<'_>) {
    let mut buf = vec![0x5a_u8; script.below(300)];
    let cap = buf.len();
    let to = if script.byte() % 4 == 0 {
        null_mut()
    } else {
        buf.as_mut_ptr()
    };
    // SAFETY: NULL, or valid for `cap` bytes.
    let length = unsafe { status::fb_last_error(to.cast::<c_char>(), cap) };
    if !to.is_null() && cap > 0 {
        let end = buf
            .iter()
            .position(|byte| *byte == 0)
            .expect("it ends with NUL");
        assert!(end <= length && std::str::from_utf8(&buf[..end]).is_ok());
    }
}

fuzz_target!(|data: &[u8]| {
    script::set_folder();
    let mut script = Script(data);
    let mut handles = Handles::default();
    let mut known = Known::default();
    let mut permits = Vec::new();
    // Something to begin with.
    let mut start = Script(&[]);
    open_region(&mut handles, &mut known, &mut start);
    while !script.is_over() {
        match script.byte() % 22 {
            0 if handles.open[REGION].len() < 4 => {
                open_region(&mut handles, &mut known, &mut script);
            }
            1 | 2 => {
                let kind = LIMITER + script.below(KINDS - 1);
                if handles.open[kind].len() < 16 {
                    open_object(kind, &mut handles, &mut known, &mut script);
                }
            }
            3 => {
                let kind = script.below(KINDS);
                handles.close(kind, &mut script);
            }
            4 | 5 => on_region(&handles, &mut known, &mut script),
            6..=8 => on_limiter(&handles, &mut script),
            9..=11 => on_cache(&handles, &mut script),
            12 => on_breaker(&handles, &mut permits, &mut script),
            13 => on_histogram(&handles, &mut script),
            14 => join(&mut script),
            15 => on_several(&handles, &mut script),
            16 => on_address(&mut script),
            17 | 18 => counted::on_window(&handles, &mut known, &mut script),
            19 | 20 => counted::on_permits(&handles, &mut known, &mut script),
            _ => last_error(&mut script),
        }
    }
    counted::finish(&handles, &mut known);
});
