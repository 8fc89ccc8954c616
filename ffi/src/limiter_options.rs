//! How a limiter is asked for in C, as the options that core has: rates as texts,
//! numbers or arrays, tiers as rows.

use crate::argument::{optional_text, slice, text};
use crate::limiter::{fb_algorithm, fb_limiter_options, fb_on_error, fb_on_full, fb_rate};
use crate::limiter::{FB_LIMITER_DISABLED, FB_LIMITER_SHOW_KEYS, FB_UNLIMITED};
use forebay::{Algorithm, Error, LimiterOptions, OnError, OnFull, Rate, Rates, Result};
use std::time::Duration;

/// The options, with the defaults for what is zero.
///
/// # Safety
/// The caller's promise (see the crate's documentation).
pub(crate) unsafe fn choose(asked: fb_limiter_options) -> Result<LimiterOptions> {
    if asked.reserved != 0 {
        return Err(Error::invalid("reserved", asked.reserved, 0));
    }
    if asked.flags & !(FB_LIMITER_DISABLED | FB_LIMITER_SHOW_KEYS) != 0 {
        return Err(Error::invalid(
            "flags",
            format_args!("{:#x}", asked.flags),
            "a sum of FB_LIMITER_ flags",
        ));
    }
    // SAFETY: the caller's promise, here and for the tiers.
    let mut options = LimiterOptions::new(unsafe { own_rates(&asked)? })
        .enabled(asked.flags & FB_LIMITER_DISABLED == 0)
        .show_keys(asked.flags & FB_LIMITER_SHOW_KEYS != 0);
    // SAFETY: as above.
    for (name, rates) in unsafe { tiers(&asked)? } {
        options = options.tier(name, &rates[..]);
    }
    if asked.max_keys != 0 {
        options = options.max_keys(asked.max_keys);
    }
    options = match asked.algorithm {
        0 => options,
        BUCKET => options.algorithm(Algorithm::Bucket),
        FIXED => options.algorithm(Algorithm::Fixed),
        SLIDING => options.algorithm(Algorithm::Sliding),
        other => return Err(Error::invalid("algorithm", other, "0 or an fb_algorithm")),
    };
    options = match asked.on_full {
        0 => options,
        LENIENT => options.on_full(OnFull::Lenient),
        STRICT => options.on_full(OnFull::Strict),
        other => return Err(Error::invalid("on_full", other, "0 or an fb_on_full")),
    };
    Ok(match asked.on_error {
        0 | DENY => options.on_error(OnError::Deny),
        ALLOW => options.on_error(OnError::Allow),
        other => return Err(Error::invalid("on_error", other, "0 or an fb_on_error")),
    })
}

const BUCKET: u32 = fb_algorithm::FB_ALGORITHM_BUCKET as u32;
const FIXED: u32 = fb_algorithm::FB_ALGORITHM_FIXED as u32;
const SLIDING: u32 = fb_algorithm::FB_ALGORITHM_SLIDING as u32;
const LENIENT: u32 = fb_on_full::FB_ON_FULL_LENIENT as u32;
const STRICT: u32 = fb_on_full::FB_ON_FULL_STRICT as u32;
const DENY: u32 = fb_on_error::FB_ON_ERROR_DENY as u32;
const ALLOW: u32 = fb_on_error::FB_ON_ERROR_ALLOW as u32;

/// The rates of the default tier.
unsafe fn own_rates(asked: &fb_limiter_options) -> Result<Rates> {
    let mut rates = Vec::new();
    // SAFETY: the caller's promise, here and for their texts.
    let several = unsafe { slice("rates", asked.rates, asked.rate_count)? };
    if several.is_empty() {
        // SAFETY: as above.
        unsafe { add_rates(&asked.rate, &mut rates)? };
    } else if !asked.rate.text.is_null()
        || (asked.rate.count, asked.rate.per_ns, asked.rate.burst) != (0, 0, 0)
    {
        return Err(Error::invalid("rate", "rate and rates", "one of them"));
    }
    for rate in several {
        // SAFETY: as above.
        unsafe { add_rates(rate, &mut rates)? };
    }
    Ok(Rates::from(&rates[..]))
}

/// The other tiers, each with all its rates.
unsafe fn tiers(asked: &fb_limiter_options) -> Result<Vec<(&str, Vec<Rate>)>> {
    let mut tiers: Vec<(&str, Vec<Rate>)> = Vec::new();
    // SAFETY: the caller's promise, here and below.
    for row in unsafe { slice("tiers", asked.tiers, asked.tier_count)? } {
        // SAFETY: as above.
        let name = unsafe { text("tier", row.name)? };
        let at = tiers.iter().position(|(known, _)| *known == name);
        let at = at.unwrap_or_else(|| {
            tiers.push((name, Vec::new()));
            tiers.len() - 1
        });
        // SAFETY: as above.
        unsafe { add_rates(&row.rate, &mut tiers[at].1)? };
    }
    Ok(tiers)
}

/// What one `fb_rate` says: a text may say several.
unsafe fn add_rates(asked: &fb_rate, rates: &mut Vec<Rate>) -> Result<()> {
    // SAFETY: the caller's promise.
    if let Some(text) = unsafe { optional_text("rate", asked.text)? } {
        if (asked.count, asked.per_ns, asked.burst) != (0, 0, 0) {
            return Err(Error::invalid(
                "rate",
                format_args!("\"{text}\" and numbers"),
                "a text, or numbers",
            ));
        }
        for one in text.split(" and ") {
            rates.push(one.parse()?);
        }
        return Ok(());
    }
    if asked.count == FB_UNLIMITED {
        rates.push(Rate::UNLIMITED);
        return Ok(());
    }
    let rate = Rate::new(asked.count, Duration::from_nanos(asked.per_ns));
    rates.push(match asked.burst {
        0 => rate,
        burst => rate.burst(burst),
    });
    Ok(())
}
