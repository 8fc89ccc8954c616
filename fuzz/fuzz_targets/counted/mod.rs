//! Window counters and permits through the C interface, beside what can be
//! known of them from outside: how many hits a key was given, and which leases
//! are out. Of regions in files less is known, since they outlast a script; of
//! those with a real clock, since leases and windows end meanwhile.

use crate::permits::*;
use crate::region::{fb_region, fb_region_advance};
use crate::script::{Bytes, Grown, Out, Script, Text};
use crate::window::*;
use crate::{answered, check, Handles, DENIED, INVALID, LATE, MISS, OK, PERMITS, WINDOW};
use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

/// The most that a window counts.
const MOST: u64 = 8_388_607;
/// Until then, 18 years, nothing stops for want of bits.
const EARLY: u64 = 1 << 59;

/// What is known of all regions and of the objects in them.
#[derive(Default)]
pub struct Known {
    regions: HashMap<*mut c_void, usize>,
    /// The time of each private region; `None`: its clock is a real one.
    clocks: Vec<Option<u64>>,
    /// By region and name.
    objects: HashMap<(usize, Vec<u8>), usize>,
    handles: HashMap<*mut c_void, usize>,
    counted: Vec<Counted>,
    /// Leases of any permits, ended ones too.
    leases: Vec<fb_lease>,
}

/// What is known of one window counter or of one object of permits.
#[derive(Default)]
struct Counted {
    region: usize,
    /// Hits that a key was given and that were not taken back.
    hits: HashMap<Vec<u8>, u64>,
    limit: u64,
    leases: Vec<(Vec<u8>, fb_lease)>,
    granted: u64,
    denied: u64,
}

impl Known {
    /// Nothing is known of a region in a file.
    pub fn opened_region(&mut self, region: *mut c_void, private: bool) {
        self.regions.remove(&region);
        if private {
            // SAFETY: it has just been opened.
            let manual = unsafe { fb_region_advance(region.cast::<fb_region>(), 0) } == OK;
            self.regions.insert(region, self.clocks.len());
            self.clocks.push(manual.then_some(0));
        }
    }

    pub fn advanced(&mut self, region: *const c_void, by: u64) {
        if let Some(region) = self.regions.get(&region.cast_mut()) {
            let clock = &mut self.clocks[*region];
            *clock = clock.map(|now| now.saturating_add(by));
        }
    }

    /// A handle's object, which may have been known before. `limit`, if it was
    /// set.
    pub fn opened(
        &mut self,
        region: *mut c_void,
        name: &Text,
        handle: *mut c_void,
        limit: Option<u64>,
    ) {
        self.handles.remove(&handle);
        let Some(region) = self.regions.get(&region).copied() else {
            return;
        };
        let object = self.objects.entry((region, name.bytes().to_vec()));
        let object = *object.or_insert_with(|| {
            self.counted.push(Counted {
                region,
                ..Counted::default()
            });
            self.counted.len() - 1
        });
        self.handles.insert(handle, object);
        if let Some(limit) = limit {
            self.counted[object].limit = limit;
        }
    }

    /// What is known of a handle's object, and whether its time stands still.
    fn of(&mut self, handle: *const c_void) -> Option<(&mut Counted, bool)> {
        let object = *self.handles.get(&handle.cast_mut())?;
        let counted = &mut self.counted[object];
        let clock = self.clocks[counted.region];
        Some((counted, clock.is_some_and(|now| now < EARLY)))
    }
}

pub fn window_options(script: &mut Script<'_>) -> Grown<fb_window_options> {
    let options = fb_window_options {
        struct_size: 0,
        reserved: u32::from(script.byte() % 16 == 0),
        max_keys: script.number(),
    };
    Grown::new(options, script)
}

pub fn permits_options(script: &mut Script<'_>) -> (Grown<fb_permits_options>, u64) {
    let limit = match script.byte() % 8 {
        0 => script.number(),
        n => u64::from(n),
    };
    let options = fb_permits_options {
        struct_size: 0,
        reserved: u32::from(script.byte() % 16 == 0),
        limit,
        lease_ns: script.number(),
        max_leases: [0, 0, limit, script.number()][usize::from(script.byte() % 4)],
    };
    (Grown::new(options, script), limit)
}

/// What a key has in an open window counter, and what that counted.
fn seen(window: *const fb_window, key: &Bytes) -> Option<(fb_count, [u64; 2])> {
    let mut count = fb_count {
        count: 0,
        resets_in_ns: 0,
    };
    // SAFETY: the handle is open; zeros are a value of the struct.
    unsafe {
        let (k, n) = (key.pointer().cast_const(), key.len);
        if fb_window_get(window, k, n, &mut count) != OK {
            return None;
        }
        let mut stats: fb_window_stats = std::mem::zeroed();
        stats.struct_size = size_of::<fb_window_stats>() as u32;
        assert_eq!(fb_window_get_stats(window, &mut stats), OK);
        Some((count, [stats.hits, stats.refused + stats.contended]))
    }
}

pub fn on_window(handles: &Handles, known: &mut Known, script: &mut Script<'_>) {
    let (handle, bad) = handles.pick(WINDOW, script);
    let window = handle.cast::<fb_window>().cast_const();
    let key = Bytes::readable(script);
    let (k, n) = (key.pointer().cast_const(), key.len);
    let before = bad.is_none().then(|| seen(window, &key)).flatten();
    let out = Out::<fb_count>::new(script);
    let place = out.pointer();
    let (mut hits, mut limit, mut taken_back) = (0, u64::MAX, 0);
    let mut resets = false;
    // SAFETY: handles are NULL or from an `_open`; bytes and places are NULL or
    // valid, unless a length is beyond what one can be.
    let status = unsafe {
        match script.byte() % 10 {
            0 | 1 => {
                hits = 1;
                fb_window_hit(window, k, n, script.number(), place)
            }
            2..=4 => {
                hits = script.number();
                let length = script.number();
                limit = [u64::MAX, script.number()][usize::from(script.byte() % 2)];
                fb_window_hit_with(window, k, n, length, hits, limit, place)
            }
            5 => {
                taken_back = script.number();
                fb_window_decrement(window, k, n, taken_back, place)
            }
            6 => {
                resets = true;
                fb_window_reset(window, k, n)
            }
            7 if script.byte() % 4 == 0 => return clear(window, bad, &key, known),
            7 => return block(window, bad, &key, known, script),
            8 => fb_window_get(window, k, n, place),
            _ => return answered(script, bad, |place| fb_window_get_stats(window, place)),
        }
    };
    key.check_read(check(status, bad));
    let writes: &[i32] = if resets { &[] } else { &[OK, DENIED] };
    out.check(status, writes);
    let (Some((was, counters)), Some((counted, still))) = (before, known.of(handle)) else {
        return;
    };
    let (is, after) = seen(window, &key).expect("as before");
    if status < OK {
        assert_eq!(after, counters);
        assert!(!still || is.count == was.count);
        return;
    }
    let yes = u64::from(hits > 0 && status == OK);
    let no = u64::from(hits > 0 && status == DENIED);
    assert_eq!(after, [counters[0] + yes, counters[1] + no]);
    let given = counted.hits.entry(bytes_of(&key)).or_default();
    *given = match resets {
        true => 0,
        false => given.saturating_add(hits * yes),
    };
    let told = (!resets && !place.is_null()).then(|| out.value());
    for count in told.iter().chain([&is]) {
        assert!(
            count.count <= (*given).min(MOST),
            "{} of {given}",
            count.count
        );
    }
    if still {
        let sum = was.count.saturating_add(hits);
        let expected = match status {
            _ if resets => 0,
            DENIED => was.count,
            _ => sum.min(MOST).saturating_sub(taken_back),
        };
        assert_eq!(is.count, expected);
        assert!(told.is_none_or(|told| told.count == expected));
        assert!(is.count == 0 || is.resets_in_ns > 0);
        let most = if limit == u64::MAX {
            limit
        } else {
            limit.min(MOST)
        };
        assert!(hits == 0 || (sum <= most) == (status == OK));
        *given -= was.count.saturating_sub(expected).min(*given);
    }
}

fn clear(window: *const fb_window, bad: Option<i32>, key: &Bytes, known: &mut Known) {
    // SAFETY: as in `on_window`.
    let status = check(unsafe { fb_window_clear(window) }, bad);
    if let (OK, Some((counted, _))) = (status, known.of(window.cast())) {
        counted.hits.clear();
        assert!(seen(window, key).is_none_or(|(count, _)| count.count == 0));
    }
}

/// The bytes of a key that was accepted.
fn bytes_of(key: &Bytes) -> Vec<u8> {
    match key.len {
        0 => Vec::new(),
        // SAFETY: it was accepted, so it is as long as it says.
        len => unsafe { std::slice::from_raw_parts(key.pointer().cast(), len).to_vec() },
    }
}

fn block(
    window: *const fb_window,
    bad: Option<i32>,
    key: &Bytes,
    known: &mut Known,
    script: &mut Script<'_>,
) {
    let (k, n) = (key.pointer().cast_const(), key.len);
    let still = known.of(window.cast()).is_some_and(|(_, still)| still);
    let blocked = Out::<u64>::new(script);
    let time = script.number();
    // SAFETY: as in `on_window`.
    unsafe {
        key.check_read(check(fb_window_block(window, k, n, time), bad));
        let status = check(fb_window_blocked_for(window, k, n, blocked.pointer()), bad);
        blocked.check(status, &[OK]);
        // What is longer is cut to four and a half years.
        if still && status == OK {
            assert!(blocked.value() >= time.min(1 << 56));
        }
        if script.byte() % 2 == 0 {
            let status = check(fb_window_unblock(window, k, n), bad);
            assert!(status != MISS || !still || time == 0);
            let mut left = 0;
            if status >= OK && fb_window_blocked_for(window, k, n, &mut left) == OK {
                assert_eq!(left, 0);
            }
        }
    }
}

/// How many leases a key has in open permits, and what they counted.
fn in_use(permits: *const fb_permits, key: &Bytes) -> Option<(u64, [u64; 2])> {
    let mut leases = 0;
    // SAFETY: the handle is open; zeros are a value of the struct.
    unsafe {
        let (k, n) = (key.pointer().cast_const(), key.len);
        if fb_permits_in_use(permits, k, n, &mut leases) != OK {
            return None;
        }
        let mut stats: fb_permits_stats = std::mem::zeroed();
        stats.struct_size = size_of::<fb_permits_stats>() as u32;
        assert_eq!(fb_permits_get_stats(permits, &mut stats), OK);
        Some((
            leases,
            [stats.granted, stats.refused + stats.full + stats.busy],
        ))
    }
}

/// Nanoseconds that a lease has yet; 0 when it is over.
fn left(permits: *const fb_permits, lease: &fb_lease) -> u64 {
    let mut ends_in = 0;
    // SAFETY: the handle is open.
    assert_eq!(
        unsafe { fb_permits_ends_in(permits, lease, &mut ends_in) },
        OK
    );
    ends_in
}

fn same(one: &fb_lease, other: &fb_lease) -> bool {
    (one.record, one.word) == (other.record, other.word)
}

pub fn on_permits(handles: &Handles, known: &mut Known, script: &mut Script<'_>) {
    let (handle, bad) = handles.pick(PERMITS, script);
    let permits = handle.cast::<fb_permits>().cast_const();
    match script.byte() % 8 {
        0..=2 => acquire(permits, bad, known, script),
        3..=5 => end(permits, bad, known, script),
        6 => answered(script, bad, |place| unsafe {
            // SAFETY: as in `on_window`.
            fb_permits_get_stats(permits, place)
        }),
        _ => {
            let (key, leases) = (Bytes::readable(script), Out::<u64>::new(script));
            let (k, n) = (key.pointer().cast_const(), key.len);
            // SAFETY: as in `on_window`.
            let status = unsafe { fb_permits_in_use(permits, k, n, leases.pointer()) };
            key.check_read(check(status, bad));
            leases.check(status, &[OK]);
        }
    }
}

fn acquire(
    permits: *const fb_permits,
    bad: Option<i32>,
    known: &mut Known,
    script: &mut Script<'_>,
) {
    let key = Bytes::readable(script);
    let before = bad.is_none().then(|| in_use(permits, &key)).flatten();
    let (lease, refusal) = (Out::<fb_lease>::new(script), Out::<fb_refusal>::new(script));
    // SAFETY: as in `on_window`.
    let status = unsafe {
        let (k, n) = (key.pointer().cast_const(), key.len);
        fb_permits_try_acquire(permits, k, n, lease.pointer(), refusal.pointer())
    };
    key.check_read(check(status, bad));
    lease.check(status, &[OK]);
    refusal.check(status, &[DENIED]);
    let granted = (status == OK).then(|| lease.value());
    known.leases.extend(granted);
    let refused = (status == DENIED && !refusal.pointer().is_null()).then(|| refusal.value());
    told(permits, refused.as_ref(), script);
    let (Some((was, _)), Some((counted, still))) = (before, known.of(permits.cast())) else {
        return;
    };
    let name = bytes_of(&key);
    counted.granted += u64::from(status == OK);
    counted.denied += u64::from(status == DENIED);
    if let Some(lease) = granted {
        counted.leases.push((name.clone(), lease));
    }
    let (is, counters) = in_use(permits, &key).expect("as before");
    assert_eq!(counters, [counted.granted, counted.denied]);
    let of_key = counted.leases.iter().filter(|(key, _)| *key == name);
    if still {
        let live = of_key.filter(|(_, lease)| left(permits, lease) > 0).count() as u64;
        assert_eq!(is, live);
        assert_eq!(is, was + u64::from(status == OK));
        assert!(status != OK || was < counted.limit);
        if let Some(refusal) = refused {
            assert!((1..u64::MAX).contains(&refusal.retry_after_ns));
            match refusal.reason {
                1 => assert!(was >= counted.limit),
                reason => assert!(reason == 2 && counted.leases.len() >= 128),
            }
        }
    } else {
        assert!(is <= of_key.count() as u64);
    }
}

/// The sentence of a refusal.
fn told(permits: *const fb_permits, refusal: Option<&fb_refusal>, script: &mut Script<'_>) {
    let made_up = fb_refusal {
        reason: script.number() as u32,
        reserved: 0,
        retry_after_ns: script.number(),
    };
    let refusal = match script.byte() % 4 {
        0 => null(),
        1 => &raw const made_up,
        _ => refusal.map_or(null(), |refusal| &raw const *refusal),
    };
    let mut buf = vec![0x5a_u8; script.below(100)];
    let (to, cap) = match script.byte() % 4 {
        0 => (null_mut(), 0),
        _ => (buf.as_mut_ptr().cast::<c_char>(), buf.len()),
    };
    // SAFETY: as in `on_window`; NULL with 0, or as many bytes as it says.
    let length = unsafe { fb_permits_refusal(permits, refusal, to, cap) };
    assert!(length == 0 || !refusal.is_null());
    fb_reason_name(made_up.reason);
    if length > 0 && cap > 0 {
        let end = buf.iter().position(|byte| *byte == 0);
        assert!(end.is_some_and(|end| end == length.min(cap - 1)));
    }
}

/// Releases or renews a lease: one of these permits, of others, ended, or none.
fn end(permits: *const fb_permits, bad: Option<i32>, known: &mut Known, script: &mut Script<'_>) {
    let lease = match (script.byte() % 16, known.leases.len()) {
        (0, _) | (_, 0) => fb_lease {
            record: script.number(),
            word: script.number(),
        },
        (_, count) => known.leases[script.below(count)],
    };
    let there = script.byte() % 16 != 0;
    let bad = bad.or((!there).then_some(INVALID));
    let mut place = Box::new(lease);
    let to = if there { &raw mut *place } else { null_mut() };
    let renews = script.byte() % 4 == 0;
    let ends_in = Out::<u64>::new(script);
    let was = bad.is_none().then(|| left(permits, &lease));
    // SAFETY: as in `on_window`.
    let status = unsafe {
        let status = fb_permits_ends_in(permits, to, ends_in.pointer());
        ends_in.check(check(status, bad), &[OK]);
        match renews {
            true => fb_permits_renew(permits, to),
            false => fb_permits_release(permits, to),
        }
    };
    check(status, bad);
    let renewed = renews && status == OK;
    assert!(renewed || same(&place, &lease));
    if renewed {
        known.leases.push(*place);
    }
    let (Some(was), Some((counted, still))) = (was, known.of(permits.cast())) else {
        return;
    };
    let at = counted
        .leases
        .iter()
        .position(|(_, held)| same(held, &lease));
    if still {
        let expected = if at.is_some() && was > 0 { OK } else { LATE };
        assert_eq!(status, expected);
        assert!(!renewed || left(permits, &place) > 0);
    }
    match at {
        Some(at) if renewed => counted.leases[at].1 = *place,
        Some(at) => drop(counted.leases.swap_remove(at)),
        None => assert_ne!(status, OK),
    }
}

/// Whatever went before: once all leases are released, each once, no key has
/// any, and there are as many again as the limit says.
pub fn finish(handles: &Handles, known: &mut Known) {
    for handle in &handles.open[PERMITS] {
        let permits = handle.cast::<fb_permits>().cast_const();
        let Some((counted, true)) = known.of(*handle) else {
            continue;
        };
        let release = |lease: &fb_lease| {
            let expected = if left(permits, lease) > 0 { OK } else { LATE };
            // SAFETY: the handle is open.
            assert_eq!(unsafe { fb_permits_release(permits, lease) }, expected);
            expected
        };
        let held = std::mem::take(&mut counted.leases);
        held.iter().for_each(|(_, lease)| _ = release(lease));
        let acquire = |key: &[u8], lease: &mut fb_lease| {
            let (k, n) = (key.as_ptr().cast(), key.len());
            // SAFETY: as above.
            unsafe { fb_permits_try_acquire(permits, k, n, lease, null_mut()) }
        };
        let keys = held.iter().map(|(key, _)| &key[..]).take(4);
        for key in keys.chain([&b"another"[..]]) {
            let many = counted.limit.min(64) as usize;
            let mut leases = vec![fb_lease { record: 0, word: 0 }; many + 1];
            for lease in &mut leases[..many] {
                assert_eq!(acquire(key, lease), OK);
            }
            let status = acquire(key, &mut leases[many]);
            assert_eq!(status, if counted.limit > 64 { OK } else { DENIED });
            leases.truncate(many + usize::from(status == OK));
            leases
                .iter()
                .for_each(|lease| assert_eq!(release(lease), OK));
            counted.granted += leases.len() as u64;
            counted.denied += u64::from(status == DENIED);
        }
    }
}
