//! A function that is not async is not wrapped.

use windlass::{Failure, Handlers, Job};

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {}
impl Job for Mail {
    const KIND: &'static str = "mail.send";
}

fn handle(_: Mail) -> Result<(), Failure> {
    Ok(())
}

fn main() {
    let _ = Handlers::new().register(handle);
}
