//! Names the shared library for the dynamic linker, which cargo does not do:
//! a program linked against version 0 of the ABI must ask for `libforebay.so.0`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The ABI's version, FB_ABI_VERSION in src/status.rs.
    let abi = 0;
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos" | "ios") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libforebay.{abi}.dylib")
        }
        Ok("windows") => {}
        _ => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libforebay.so.{abi}"),
    }
}
