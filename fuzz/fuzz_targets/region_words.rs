//! Each primitive on words of the fuzzer's choice, between two pages that
//! cannot be touched, perhaps with an adversary who changes them between two
//! steps of a call: nothing outside is touched, nothing panics, and every call
//! ends within its steps. The driver and its bounds are the core's tests'.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/hostile_words/mod.rs"]
mod hostile_words;

fuzz_target!(|data: &[u8]| {
    hostile_words::drive::all(data, &mut Default::default());
});
