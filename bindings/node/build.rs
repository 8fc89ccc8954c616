//! Link arguments of a Node addon: its `napi_*` symbols come from the process.

fn main() {
    napi_build::setup();
}
