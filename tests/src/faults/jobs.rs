//! The jobs of the suite: what clients submit, and what the fault worker does with them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::worker::context::Context;
use windlass::{Failure, Handlers, Job, State};

use super::history::{Line, Recorder};

/// What a handler is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Work {
    /// Take so long.
    pub(super) milliseconds: u64,
    /// Fail in so many first attempts.
    pub(super) failures: u32,
    /// Weigh something.
    pub(super) ballast: String,
}

/// What the handlers share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) recorder: Recorder,
    pub(super) worker: String,
}

/// About what a worker may take: a job that wants more ends it.
pub(super) const MOST_BYTES: usize = 1 << 30;
const PORTION_BYTES: usize = 16 << 20;

/// How a handler ends when its time is over.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Return,
    Panic,
    Abort,
    Exit,
    Overflow,
    Exhaust,
}

macro_rules! kinds {
    ($($name:ident => $kind:literal, $ending:ident, $handle:ident;)+) => {
        $(
            #[derive(Debug, Serialize, Deserialize)]
            #[serde(transparent)]
            pub(super) struct $name(Work);

            impl Job for $name {
                const KIND: &'static str = $kind;
            }

            async fn $handle(job: $name, context: Context, State(shared): State<Shared>) -> Result<u64, Failure> {
                execute(&job.0, &context, &shared, Ending::$ending).await
            }
        )+

        /// All of them.
        pub(super) fn handlers(shared: Shared) -> Result<Handlers<Shared>, windlass::handler::Error> {
            let handlers = Handlers::with_state(shared);
            $(let handlers = handlers.register($handle)?;)+
            Ok(handlers)
        }
    };
}

kinds! {
    Plain => "faults.work", Return, plain;
    Panicking => "faults.panic", Panic, panicking;
    Aborting => "faults.abort", Abort, aborting;
    Exiting => "faults.exit", Exit, exiting;
    Overflowing => "faults.overflow", Overflow, overflowing;
    Exhausting => "faults.exhaust", Exhaust, exhausting;
}

async fn execute(work: &Work, context: &Context, shared: &Shared, ending: Ending) -> Result<u64, Failure> {
    let (pid, worker) = (std::process::id(), shared.worker.clone());
    let (queue, job, attempt) = (context.queue().clone(), context.job_id(), context.attempt());
    let at = jiff::Timestamp::now();
    let start = Line::Start { at, pid, worker: worker.clone(), queue: queue.clone(), job, attempt };
    record(shared, &start);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(work.milliseconds)) => {}
        // What was stopped has no end of its own.
        () = context.cancelled() => return Err(Failure::new("was told to stop")),
    }
    end_by(ending);
    record(shared, &Line::End { at: jiff::Timestamp::now(), pid, worker, queue, job, attempt });
    if attempt <= work.failures {
        return Err(Failure::new(format!("fails in its first {} attempts", work.failures)));
    }
    Ok(u64::try_from(work.ballast.len()).unwrap_or(u64::MAX))
}

/// An execution that is not on record would be held against the product.
fn record(shared: &Shared, line: &Line) {
    if let Err(error) = shared.recorder.record(line) {
        eprintln!("the history cannot be written: {error:#}");
        std::process::abort();
    }
}

fn end_by(ending: Ending) {
    match ending {
        Ending::Return => {}
        Ending::Panic => panic!("a job that panics"),
        Ending::Abort => std::process::abort(),
        Ending::Exit => std::process::exit(7),
        Ending::Overflow => {
            overflow(0);
        }
        Ending::Exhaust => exhaust(),
    }
}

#[allow(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 1024]);
    overflow(depth + 1) + std::hint::black_box(frame)[0]
}

/// Takes memory until there is none: the process has a limit of its own. Where it has not, the machine is spared.
fn exhaust() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    while all.len() * PORTION_BYTES < 2 * MOST_BYTES {
        all.push(std::hint::black_box(vec![1; PORTION_BYTES]));
    }
    std::process::abort();
}
