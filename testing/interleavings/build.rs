//! Builds sources of the product over the primitives of `shape-meta-interleavings-sync`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=shape_meta_interleaved");
    // The only feature of the crates that is used here.
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"conformance\", \"rows\", \"serde\", \"shape\"))");
    println!("cargo::rustc-cfg=feature=\"conformance\"");
}
