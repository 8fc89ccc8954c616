//! Regions: opening, time, what is in them and what happened.

use crate::argument::{buffer, optional_out, optional_text, out, too_small, write_text};
use crate::handle::{self, borrow, held};
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status};
use forebay::{Error, EventKind, Region, RegionOptions, Result};
use std::ffi::{c_char, CStr};
use std::time::Duration;

/// A region of memory that holds limiters, caches, breakers, histograms, window
/// counters and permits: private to the process, or a file that processes share.
pub struct fb_region {
    _opaque: [u8; 0],
}

held!(fb_region, 0, Region);

/// Attach only: a file that is missing is FB_E_NOT_FOUND.
pub const FB_REGION_NO_CREATE: u32 = 1;
/// Start anew unless another live process has the region open.
pub const FB_REGION_FRESH: u32 = 2;
/// The last process to close the region removes its file. Fixed when the region
/// is created.
pub const FB_REGION_EPHEMERAL: u32 = 4;
/// The clock stands still until fb_region_advance: for tests. Fixed when the
/// region is created.
pub const FB_REGION_MANUAL_CLOCK: u32 = 8;

/// How to open a region. Zero in a field is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_region_options {
    /// sizeof(fb_region_options); fb_region_options_init sets it.
    pub struct_size: u32,
    /// Any of the FB_REGION_ flags, added up.
    pub flags: u32,
    /// A name ([A-Za-z0-9._-], 1 to 48 bytes, not beginning with '.') or a path
    /// (with a '/') of a region to share; NULL: a private one.
    pub name_or_path: *const c_char,
    /// The size of a region that is created, in bytes, a multiple of 8; an
    /// existing one keeps its own. 0: 16 MiB.
    pub bytes: u64,
    /// The permission bits of a file that is created: 0600, or 0660 to share it
    /// with a group. An existing file that lets in more is refused. 0: 0600.
    pub mode: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_region_options {}

/// What a region holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_region_stats {
    /// sizeof(fb_region_stats); fb_region_stats_init sets it.
    pub struct_size: u32,
    /// 1 if the region is a file that processes share, else 0.
    pub shared: u32,
    /// The region's size in bytes.
    pub bytes: u64,
    /// Bytes taken, by the header and the objects.
    pub used: u64,
    /// How many objects there are.
    pub objects: u64,
    /// How many live processes have it open; 1 if private.
    pub seats: u64,
    /// How many processes may have it open at once.
    pub seats_max: u64,
    /// Events written since it was created.
    pub events: u64,
    /// Events that could not be written.
    pub events_dropped: u64,
    /// Structures that recovery cleared because their holder had died.
    pub resets: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_region_stats {}

/// The kinds of objects, in `fb_object.kind`.
#[repr(u32)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // for the header; here the core says the numbers
pub enum fb_kind {
    /// A limiter.
    FB_KIND_LIMITER = 1,
    /// A cache.
    FB_KIND_CACHE = 2,
    /// A breaker.
    FB_KIND_BREAKER = 3,
    /// A histogram.
    FB_KIND_HISTOGRAM = 4,
    /// A window counter.
    FB_KIND_WINDOW = 5,
    /// Permits.
    FB_KIND_PERMITS = 6,
}

/// The kinds of events, in `fb_event.kind`, and the meaning of `fb_event.detail`.
#[repr(u32)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // for the header; here the core says the numbers
pub enum fb_event_kind {
    /// An object was created.
    FB_EVENT_OBJECT_CREATED = 1,
    /// An object was opened with other rates, TTLs or thresholds, which apply
    /// from then on.
    FB_EVENT_OPTIONS_CHANGED = 2,
    /// A breaker opened; the detail is its generation.
    FB_EVENT_BREAKER_OPENED = 3,
    /// A breaker lets probes through; the detail is its generation.
    FB_EVENT_BREAKER_HALF_OPENED = 4,
    /// A breaker closed; the detail is its generation.
    FB_EVENT_BREAKER_CLOSED = 5,
    /// A cache was cleared on demand.
    FB_EVENT_CACHE_CLEARED = 6,
    /// A shard of a cache was cleared because its holder had died; the detail
    /// is its number.
    FB_EVENT_SHARD_RESET = 7,
}

/// An object of a region. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_object {
    /// Its name; ends with NUL.
    pub name: [c_char; 64],
    /// One of `enum fb_kind`; there may be new ones.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// The bytes that it takes in the region.
    pub bytes: u64,
}

/// Something that happened in a region. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_event {
    /// Its number; they rise by one.
    pub sequence: u64,
    /// When it happened: region time, as fb_region_now tells it.
    pub time_ns: u64,
    /// A number whose meaning depends on the kind.
    pub detail: u64,
    /// What happened, one of `enum fb_event_kind`; there may be new ones, and
    /// fb_event_name tells them all in words.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// The object that it happened to, empty for the region itself; ends with NUL.
    pub object: [c_char; 64],
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<fb_region_options>() == 24 + size_of::<*const c_char>());
    assert!(size_of::<fb_region_stats>() == 8 + 8 * 8);
    assert!(size_of::<fb_object>() == 64 + 16);
    assert!(size_of::<fb_event>() == 4 * 8 + 64);
};

/// Opens a region: creates it or attaches to it. Opening the same file again in
/// a process gives another handle to the same mapping.
///
/// `options` NULL: a private region with the defaults.
///
/// Ownership: `*region` is the caller's, to be given to fb_region_close. The
/// options are borrowed for the call.
/// Threads: any.
/// Cost: system calls; allocates.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_NOT_FOUND, FB_E_OUT_OF_SPACE,
/// FB_E_PERMISSION, FB_E_LAYOUT, FB_E_CORRUPT, FB_E_OTHER_BOOT,
/// FB_E_CLOCK_NAMESPACE, FB_E_NO_SEAT, FB_E_BUSY, FB_E_IO, FB_E_UNSUPPORTED.
#[no_mangle]
pub unsafe extern "C" fn fb_region_open(
    options: *const fb_region_options,
    region: *mut *mut fb_region,
) -> fb_status {
    answer(|| {
        let region = out("region", region)?;
        let opened = if options.is_null() {
            Region::private()?
        } else {
            // SAFETY: the caller's promise.
            unsafe { open(sized::read("options", options)?)? }
        };
        // SAFETY: the caller's promise.
        unsafe { region.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

unsafe fn open(asked: fb_region_options) -> Result<Region> {
    const KNOWN: u32 =
        FB_REGION_NO_CREATE | FB_REGION_FRESH | FB_REGION_EPHEMERAL | FB_REGION_MANUAL_CLOCK;
    if asked.flags & !KNOWN != 0 {
        return Err(Error::invalid(
            "flags",
            format_args!("{:#x}", asked.flags),
            "a sum of FB_REGION_ flags",
        ));
    }
    if asked.reserved != 0 {
        return Err(Error::invalid("reserved", asked.reserved, 0));
    }
    let set = |flag: u32| asked.flags & flag != 0;
    let mut options = RegionOptions::new()
        .create(!set(FB_REGION_NO_CREATE))
        .fresh(set(FB_REGION_FRESH))
        .ephemeral(set(FB_REGION_EPHEMERAL))
        .manual_clock(set(FB_REGION_MANUAL_CLOCK));
    if asked.bytes != 0 {
        options = options.bytes(asked.bytes);
    }
    if asked.mode != 0 {
        options = options.mode(asked.mode);
    }
    // SAFETY: the caller's promise.
    match unsafe { optional_text("name_or_path", asked.name_or_path)? } {
        Some(name_or_path) => options.open(name_or_path),
        None => options.private(),
    }
}

/// Closes the handle. The region itself stays as long as an object's handle
/// keeps it, and its file stays for the next to open it (unless ephemeral).
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: the last handle to a region unmaps it: system calls.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no region.
#[no_mangle]
pub unsafe extern "C" fn fb_region_close(region: *mut fb_region) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<Region>(region) }.map(|()| fb_code::FB_OK))
}

/// Region time: nanoseconds since the region's epoch, the same for all
/// processes. One reading may serve several calls that take `now_ns`.
///
/// Threads: any.
/// Cost: one reading of the clock; no allocation, no lock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_region_now(region: *const fb_region, now_ns: *mut u64) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let region = unsafe { borrow::<Region>(region)? };
        let now_ns = out("now_ns", now_ns)?;
        // SAFETY: as above.
        unsafe { now_ns.write(region.now()) };
        Ok(fb_code::FB_OK)
    })
}

/// Moves a manual clock forward by `by_ns`.
///
/// Threads: any.
/// Cost: no allocation.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT if the region's clock is the real one.
#[no_mangle]
pub unsafe extern "C" fn fb_region_advance(region: *const fb_region, by_ns: u64) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        let region = unsafe { borrow::<Region>(region)? };
        region.advance(Duration::from_nanos(by_ns))?;
        Ok(fb_code::FB_OK)
    })
}

/// The path of a shared region's file, ended by NUL. `*len` becomes its length
/// without NUL, also when `cap` is too small.
///
/// Ownership: writes to `buf` (`cap` bytes).
/// Threads: any.
/// Cost: one copy.
/// Returns: FB_OK; FB_MISS if the region is private; FB_E_TOO_LARGE unless
/// `cap` is more than `*len`.
#[no_mangle]
pub unsafe extern "C" fn fb_region_path(
    region: *const fb_region,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (region, buf) = unsafe {
            let region = borrow::<Region>(region)?;
            (region, buffer("buf", buf.cast::<u8>(), cap)?)
        };
        let len = out("len", len)?;
        let Some(path) = region.path() else {
            return Ok(fb_code::FB_MISS);
        };
        // SAFETY: as above.
        unsafe { write_text(path.as_os_str().as_encoded_bytes(), buf, len)? };
        Ok(fb_code::FB_OK)
    })
}

/// What the region holds.
///
/// Ownership: writes to `stats`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: may ask the kernel which processes live; for the cold path.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_region_get_stats(
    region: *const fb_region,
    stats: *mut fb_region_stats,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, place) = unsafe {
            let region = borrow::<Region>(region)?;
            (region, sized::place("stats", stats)?)
        };
        let now = region.stats();
        // SAFETY: as above.
        unsafe {
            place.write(fb_region_stats {
                struct_size: 0,
                shared: region.is_shared().into(),
                bytes: now.bytes,
                used: now.used,
                objects: now.objects,
                seats: now.seats,
                seats_max: now.seats_max,
                events: now.events,
                events_dropped: now.events_dropped,
                resets: now.resets,
            });
        }
        Ok(fb_code::FB_OK)
    })
}

/// All objects of the region. `*count` becomes how many there are, also when
/// `cap` is too small.
///
/// Ownership: writes to `objects` (room for `cap`; NULL with 0 to ask for the count).
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: FB_OK; FB_E_TOO_LARGE when `cap` is less than `*count` (nothing
/// else is written).
#[no_mangle]
pub unsafe extern "C" fn fb_region_objects(
    region: *const fb_region,
    objects: *mut fb_object,
    cap: usize,
    count: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (region, places) = unsafe {
            let region = borrow::<Region>(region)?;
            (region, buffer("objects", objects, cap)?)
        };
        let count = out("count", count)?;
        let found = region.objects();
        // SAFETY: as above.
        unsafe { count.write(found.len()) };
        if found.len() > cap {
            return Err(too_small::<fb_object>("objects", found.len(), cap));
        }
        for (place, object) in places.iter_mut().zip(&found) {
            *place = fb_object {
                name: name(&object.name),
                kind: object.kind.number(),
                reserved: 0,
                bytes: object.bytes,
            };
        }
        Ok(fb_code::FB_OK)
    })
}

/// What happened in the region, in any process: events whose sequence number is
/// `since` or more, oldest first, as many as fit. Begin with 0 and go on with
/// `*next`. The region keeps a limited number of events: `*lost` becomes how
/// many of those asked for were overwritten already. NULL for `lost`: not wanted.
///
/// Ownership: writes to `events` (room for `cap`).
/// Threads: any.
/// Cost: allocates; for the cold path.
/// Returns: FB_OK, with `*count` events (0: nothing new).
#[no_mangle]
pub unsafe extern "C" fn fb_region_events(
    region: *const fb_region,
    since: u64,
    events: *mut fb_event,
    cap: usize,
    count: *mut usize,
    next: *mut u64,
    lost: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (region, places) = unsafe {
            let region = borrow::<Region>(region)?;
            (region, buffer("events", events, cap)?)
        };
        let (count, next) = (out("count", count)?, out("next", next)?);
        let lost = optional_out("lost", lost)?;
        let found = region.events(since);
        for (place, event) in places.iter_mut().zip(&found.events) {
            *place = fb_event {
                sequence: event.sequence,
                time_ns: event.time,
                detail: event.detail,
                kind: event.kind.number(),
                reserved: 0,
                object: name(&event.object),
            };
        }
        let told = found.events.len().min(cap);
        // The first event that did not fit is where the next call begins; what
        // is lost after it, that call will tell.
        let go_on = found.events.get(told).map_or(found.next, |e| e.sequence);
        let missing = go_on.saturating_sub(since).saturating_sub(told as u64);
        // SAFETY: as above.
        unsafe {
            count.write(told);
            next.write(go_on);
            if let Some(lost) = lost {
                lost.write(missing);
            }
        }
        Ok(fb_code::FB_OK)
    })
}

/// What an event's kind means, such as `breaker-open`; the same in every language.
///
/// Ownership: the text is static.
/// Threads: any.
/// Cost: none.
/// Returns: the name, or `unknown`.
#[no_mangle]
pub extern "C" fn fb_event_name(kind: u32) -> *const c_char {
    const NAMES: [(EventKind, &CStr); 7] = [
        (EventKind::ObjectCreated, c"object-created"),
        (EventKind::OptionsChanged, c"options-changed"),
        (EventKind::BreakerOpened, c"breaker-open"),
        (EventKind::BreakerHalfOpened, c"breaker-half-open"),
        (EventKind::BreakerClosed, c"breaker-closed"),
        (EventKind::CacheCleared, c"cache-cleared"),
        (EventKind::ShardReset, c"shard-reset"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.number() == kind)
        .map_or(c"unknown", |(_, name)| *name)
        .as_ptr()
}

/// A name as C has it, in a fixed field with NUL at its end. An object's has at
/// most 48 bytes, a tier's 31, so none is cut but one that damage made longer.
pub(crate) fn name<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (to, from) in field[..N - 1].iter_mut().zip(text.bytes()) {
        *to = from as c_char;
    }
    field
}
