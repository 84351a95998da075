//! The linker's option that a static binary is smaller by: 0.5 MB of relocations become some kilobytes (RELR). musl knows them since 1.2.4, which the
//! toolchain brings along; a binary for glibc would not start where that is older than 2.36.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "musl") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
