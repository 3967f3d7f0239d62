//! Publishes a task for `worker.rs` and waits for its end.
//!
//! `WINDLASS_NATS_URL` says where the broker is. With the shipped configuration of the broker, waiting needs a user that
//! may read ends, as `operator`: `WINDLASS_NATS_USER` and `WINDLASS_NATS_PASSWORD`.
#![allow(clippy::print_stdout)] // An example talks to people.

use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{Auth, Client, Job, JobState, Options, Secret};

/// What the worker needs to know; a task carries it as JSON.
#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}

impl Job for Greet {
    const KIND: &'static str = "greeting.write";
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect_with(options()).await?;
    let name = std::env::args().nth(1).unwrap_or_else(|| "Ada".to_owned());

    // Once this returns, the task is stored, and will reach exactly one end.
    let job = client.task(&Greet { name }).queue("greetings").max_attempts(3).submit().await?;
    println!("job {}", job.id);

    let end = client.wait(&job.queue, job.id, Duration::from_mins(1)).await?;
    match end.state {
        JobState::Succeeded => println!("result {}", String::from_utf8_lossy(&end.result)),
        state => return Err(format!("the job is {state}: {:?}", end.error).into()),
    }
    Ok(())
}

fn options() -> Options {
    let variable = |name| std::env::var(name).ok();
    let url = variable("WINDLASS_NATS_URL").unwrap_or("nats://127.0.0.1:4222".to_owned());
    let mut options = Options::new(url);
    let (user, password) = (variable("WINDLASS_NATS_USER"), variable("WINDLASS_NATS_PASSWORD"));
    if let (Some(user), Some(password)) = (user, password) {
        options.inbox_prefix = Some(format!("_INBOX_{user}"));
        options.auth = Auth::UserPassword { user, password: Secret::new(password) };
    }
    options
}
