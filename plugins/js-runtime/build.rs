//! Room for the parser: of the two stacks of a wasm guest this one should not be the first that ends,
//! because the host tells of the other in words. Nor larger than that takes: every page of it is looked at
//! when an instance's memory is wiped.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo:rustc-link-arg-cdylib=-zstack-size=2097152");
    }
}
