//! A region in use, of which words are overwritten between verbs: in one
//! object, then no other object's words change and all others work as ever; or
//! anywhere, the header and the directory included, then nothing crashes or
//! hangs and answers stay in their bounds. The driver is the core's tests'.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../core/tests/hostile_words/mod.rs"]
mod hostile_words;
#[path = "../../core/tests/hostile_zoo/mod.rs"]
mod zoo;

fuzz_target!(|data: &[u8]| zoo::patched(data));
