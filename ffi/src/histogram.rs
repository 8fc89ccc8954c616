//! Histograms: nanoseconds in, percentiles and buckets out.

use crate::argument::{buffer, nanoseconds, out, slice, text, too_small};
use crate::handle::{self, borrow, held};
use crate::region::fb_region;
use crate::sized::{self, Grows};
use crate::status::{answer, fb_code, fb_status};
use forebay::{Error, Histogram, HistogramOptions, Region};
use std::ffi::c_char;

/// A histogram of durations.
pub struct fb_histogram {
    _opaque: [u8; 0],
}

held!(fb_histogram, 4, Histogram);

/// How to open a histogram. There is nothing to choose yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_histogram_options {
    /// sizeof(fb_histogram_options); fb_histogram_options_init sets it.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_histogram_options {}

/// What a histogram holds at one moment. All zero when nothing was recorded.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_snapshot {
    /// sizeof(fb_snapshot); fb_snapshot_init sets it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// How many durations were recorded.
    pub count: u64,
    /// All of them together.
    pub sum_ns: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

// SAFETY: repr(C), u32 first, no padding (asserted below); any bytes are a value.
unsafe impl Grows for fb_snapshot {}

/// A bucket of a histogram. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fb_bucket {
    /// Its upper edge in seconds, which belongs to it; the last may be INFINITY.
    pub upper_seconds: f64,
    /// How many durations fell into it (not into those below).
    pub count: u64,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<fb_histogram_options>() == 8);
    assert!(size_of::<fb_snapshot>() == 8 + 5 * 8);
    assert!(size_of::<fb_bucket>() == 16);
};

/// Opens a histogram: creates it or attaches to it. `options` NULL: the defaults.
///
/// `name`: 1 to 48 bytes.
///
/// Ownership: `*histogram` is the caller's, to be given to fb_histogram_close; it
/// keeps the region. Everything else is borrowed for the call.
/// Threads: any.
/// Cost: allocates, locks the region's directory.
/// Returns: FB_OK; FB_E_INVALID_ARGUMENT, FB_E_WRONG_KIND, FB_E_REGION_FULL,
/// FB_E_BUSY.
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_open(
    region: *const fb_region,
    name: *const c_char,
    options: *const fb_histogram_options,
    histogram: *mut *mut fb_histogram,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (region, name) = unsafe { (borrow::<Region>(region)?, text("name", name)?) };
        let histogram = out("histogram", histogram)?;
        if !options.is_null() {
            // SAFETY: as above.
            let asked = unsafe { sized::read("options", options)? };
            if asked.reserved != 0 {
                return Err(Error::invalid("reserved", asked.reserved, 0));
            }
        }
        let opened = region.histogram(name, HistogramOptions::default())?;
        // SAFETY: as above.
        unsafe { histogram.write(handle::open(opened)) };
        Ok(fb_code::FB_OK)
    })
}

/// Closes the handle. The histogram itself stays in the region.
///
/// Ownership: takes the handle back. NULL is fine.
/// Threads: no other call may be using this handle.
/// Cost: see fb_region_close, if it was what kept the region.
/// Returns: FB_OK; FB_E_CLOSED if it was closed before; FB_E_INVALID_ARGUMENT
/// if it is no histogram.
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_close(histogram: *mut fb_histogram) -> fb_status {
    // SAFETY: the caller's promise.
    answer(|| unsafe { handle::close::<Histogram>(histogram) }.map(|()| fb_code::FB_OK))
}

/// Records a duration.
///
/// Threads: any.
/// Cost: two atomic additions; no allocation, no lock, no clock.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_record_ns(
    histogram: *const fb_histogram,
    ns: u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { borrow::<Histogram>(histogram)? }.record_ns(ns);
        Ok(fb_code::FB_OK)
    })
}

/// The duration that `percent` of those recorded do not exceed: within 1.1 % of
/// it from 1 us to 17 minutes, and never outside the extremes.
///
/// Threads: any.
/// Cost: reads all buckets; for the cold path. For several percentiles of the
/// same moment see fb_histogram_percentiles.
/// Returns: FB_OK; FB_EMPTY when nothing was recorded; FB_E_INVALID_ARGUMENT
/// unless `percent` is 0 to 100.
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_percentile(
    histogram: *const fb_histogram,
    percent: f64,
    ns: *mut u64,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let histogram = unsafe { borrow::<Histogram>(histogram)? };
        let ns = out("ns", ns)?;
        let Some(found) = histogram.percentile(percent)? else {
            return Ok(fb_code::FB_EMPTY);
        };
        // SAFETY: as above.
        unsafe { ns.write(nanoseconds(found)) };
        Ok(fb_code::FB_OK)
    })
}

/// Several percentiles of the same moment: `ns[i]` becomes that of `percents[i]`.
///
/// Ownership: borrows `percents`, writes to `ns` (`count` each).
/// Threads: any.
/// Cost: reads all buckets once; allocates; for the cold path.
/// Returns: FB_OK; FB_EMPTY when nothing was recorded; FB_E_INVALID_ARGUMENT
/// unless every percent is 0 to 100. Only FB_OK writes.
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_percentiles(
    histogram: *const fb_histogram,
    percents: *const f64,
    ns: *mut u64,
    count: usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (histogram, percents, ns) = unsafe {
            let histogram = borrow::<Histogram>(histogram)?;
            let percents = slice("percents", percents, count)?;
            (histogram, percents, buffer("ns", ns, count)?)
        };
        let snapshot = histogram.snapshot();
        // All are checked, also when there is nothing to tell.
        let found = percents
            .iter()
            .map(|percent| snapshot.percentile(*percent))
            .collect::<forebay::Result<Vec<_>>>()?;
        if snapshot.count() == 0 {
            return Ok(fb_code::FB_EMPTY);
        }
        for (place, found) in ns.iter_mut().zip(found) {
            *place = found.map_or(0, nanoseconds);
        }
        Ok(fb_code::FB_OK)
    })
}

/// What the histogram holds now.
///
/// Ownership: writes to `snapshot`, whose struct_size the caller has set.
/// Threads: any.
/// Cost: reads all buckets; allocates; for the cold path.
/// Returns: FB_OK.
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_snapshot(
    histogram: *const fb_histogram,
    snapshot: *mut fb_snapshot,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the write.
        let (histogram, place) = unsafe {
            let histogram = borrow::<Histogram>(histogram)?;
            (histogram, sized::place("snapshot", snapshot)?)
        };
        let now = histogram.snapshot();
        // SAFETY: as above.
        unsafe {
            place.write(fb_snapshot {
                struct_size: 0,
                reserved: 0,
                count: now.count(),
                sum_ns: nanoseconds(now.sum()),
                mean_ns: nanoseconds(now.mean()),
                min_ns: now.min().map_or(0, nanoseconds),
                max_ns: now.max().map_or(0, nanoseconds),
            });
        }
        Ok(fb_code::FB_OK)
    })
}

/// The buckets that are not empty, in ascending order. `*count` becomes how many
/// there are, also when `cap` is too small.
///
/// Ownership: writes to `buckets` (room for `cap`; NULL with 0 to ask for the
/// count, which may have grown by the next call).
/// Threads: any.
/// Cost: reads all buckets; allocates; for the cold path.
/// Returns: FB_OK; FB_E_TOO_LARGE when `cap` is less than `*count` (nothing else
/// is written).
#[no_mangle]
pub unsafe extern "C" fn fb_histogram_buckets(
    histogram: *const fb_histogram,
    buckets: *mut fb_bucket,
    cap: usize,
    count: *mut usize,
) -> fb_status {
    answer(|| {
        // SAFETY: the caller's promise, here and for the writes.
        let (histogram, places) = unsafe {
            let histogram = borrow::<Histogram>(histogram)?;
            (histogram, buffer("buckets", buckets, cap)?)
        };
        let count = out("count", count)?;
        let found = histogram.snapshot().buckets();
        // SAFETY: as above.
        unsafe { count.write(found.len()) };
        if found.len() > cap {
            return Err(too_small::<fb_bucket>("buckets", found.len(), cap));
        }
        for (place, (upper_seconds, in_it)) in places.iter_mut().zip(found) {
            *place = fb_bucket {
                upper_seconds,
                count: in_it,
            };
        }
        Ok(fb_code::FB_OK)
    })
}
