//! Middleware of another form.

use windlass::Handlers;
use windlass::handler::{Call, Returned};

async fn timed(_: Call) -> Returned {
    Ok("null".into())
}

fn main() {
    let _ = Handlers::new().layer(timed);
}
