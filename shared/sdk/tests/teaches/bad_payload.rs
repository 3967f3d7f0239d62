//! The first parameter is no job.

use windlass::{Failure, Handlers};

async fn handle(_: String) -> Result<(), Failure> {
    Ok(())
}

fn main() {
    let _ = Handlers::new().register(handle);
}
