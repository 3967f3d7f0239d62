//! A parameter that nothing extracts.

use windlass::{Failure, Handlers, Job};

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {}
impl Job for Mail {
    const KIND: &'static str = "mail.send";
}

async fn handle(_: Mail, _: u32) -> Result<(), Failure> {
    Ok(())
}

fn main() {
    let _ = Handlers::new().register(handle);
}
