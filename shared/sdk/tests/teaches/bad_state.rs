//! The worker has another state than the handler wants.

use windlass::{Failure, Handlers, Job, State};

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {}
impl Job for Mail {
    const KIND: &'static str = "mail.send";
}

#[derive(Clone)]
struct Database;
#[derive(Clone)]
struct Cache;

async fn handle(_: Mail, _: State<Cache>) -> Result<(), Failure> {
    Ok(())
}

fn main() {
    let _ = Handlers::with_state(Database).register(handle);
}
