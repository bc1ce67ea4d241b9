//! Embeds the migrations again when one is added: the compiler by itself only notices a change of those it knows.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
