//! Serves the tasks of `publisher.rs` until Ctrl-C. Prints `ready` once it does: the queue is made with its first task.
//! `WINDLASS_NATS_URL` says where the broker is; with the shipped configuration of the broker, `WINDLASS_NATS_USER` is
//! `worker`, with its `WINDLASS_NATS_PASSWORD`, and `WINDLASS_NATS_API_PREFIX` is `JS.windlass.API`.
#![allow(clippy::print_stdout)] // An example talks to people.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use windlass::worker::{self, context::Context};
use windlass::{Auth, Client, Failure, Handlers, Job, Options, Secret, State, Worker};

#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}

impl Job for Greet {
    const KIND: &'static str = "greeting.write";
}

/// What the handlers share; here it would hold a database's pool.
#[derive(Clone)]
struct Greeter {
    word: &'static str,
}

/// The job comes first, then what the handler asks for. What it returns is the job's result, as JSON.
async fn greet(job: Greet, State(greeter): State<Greeter>, context: Context) -> Result<String, Failure> {
    if job.name.is_empty() {
        return Err(Failure::new("nobody to greet").terminal());
    }
    Ok(format!("{}, {}! (attempt {})", greeter.word, job.name, context.attempt()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name| std::env::var(name).ok();
    let url = variable("WINDLASS_NATS_URL").unwrap_or("nats://127.0.0.1:4222".to_owned());
    let mut options = Options { api_prefix: variable("WINDLASS_NATS_API_PREFIX"), ..Options::new(url) };
    let (user, password) = (variable("WINDLASS_NATS_USER"), variable("WINDLASS_NATS_PASSWORD"));
    if let (Some(user), Some(password)) = (user, password) {
        options.inbox_prefix = Some(format!("_INBOX_{user}"));
        options.auth = Auth::UserPassword { user, password: Secret::new(password) };
    }
    let client = Client::connect_with(options).await?;
    let handlers = Handlers::with_state(Greeter { word: "Hello" }).register(greet)?;
    let options = worker::Options { queues: vec!["greetings".parse()?], ..Default::default() };
    let worker = Worker::new(&client, handlers, options)?;
    let (stop, ready) = (CancellationToken::new(), CancellationToken::new());
    let mut running = tokio::spawn(worker.run(stop.clone(), ready.clone()));
    tokio::select! {
        () = ready.cancelled() => println!("ready"),
        ended = &mut running => return Ok(ended??),
    }
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    Ok(running.await??)
}
