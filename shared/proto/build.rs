//! Compiles the schema with `protox`, so that no `protoc` has to be installed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo runs this in the package's folder. A path from the compilation would be that of an earlier checkout, where
    // two share a target folder.
    let root = Path::new("../../proto");
    let files = ["task", "job", "event", "schedule", "worker", "control", "presence"]
        .map(|name| root.join(format!("windlass/v1/{name}.proto")));
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [&root])?;
    // Reference-counted bytes: a payload is not copied between the network and the handler. What is stored has one form.
    let ordered = [".windlass.v1.Task.labels", ".windlass.v1.Event.labels"];
    prost_build::Config::new().bytes(["."]).btree_map(ordered).compile_fds(descriptors)?;
    Ok(())
}
