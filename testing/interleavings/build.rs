//! Lets sources of the product be built over `interleavings-sync`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=shape_meta_interleaved");
    // Of the features of the crates only this is wanted here.
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"conformance\", \"shape\"))");
    println!("cargo::rustc-cfg=feature=\"conformance\"");
}
