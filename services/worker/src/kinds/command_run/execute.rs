//! From a running program to its result, or to its death.

use std::future::Future;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::capture::Capture;
use super::group::Group;
use super::{Error, Ran, Settings};

/// How long an output may stay open once everybody in the group is dead: who escaped from it may hold it for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

pub(super) async fn execute(
    mut group: Group,
    settings: &Settings,
    limit: Duration,
    stopped: impl Future<Output = ()>,
) -> Result<Ran, Error> {
    let (stdout, stderr) = group.outputs();
    let mut stdout = Capture::new(stdout, settings.output_limit_bytes);
    let mut stderr = Capture::new(stderr, settings.output_limit_bytes);

    let ended_early = {
        let mut drained = false;
        let mut draining = pin!(drain(&mut stdout, &mut stderr));
        let (mut too_long, mut stopped) = (pin!(sleep(limit)), pin!(stopped));
        loop {
            tokio::select! {
                biased;
                ended = group.ended() => {
                    ended.map_err(Error::Follow)?;
                    break None;
                }
                () = &mut stopped => break Some(Error::Stopped),
                () = &mut too_long => break Some(Error::TimedOut { limit }),
                () = &mut draining, if !drained => drained = true,
            }
        }
    };
    if ended_early.is_some() {
        group.terminate();
    }
    // The rest of the group may finish: as long as one of it holds an output, it is not gone.
    let finished = async {
        let (ended, ()) = tokio::join!(group.ended(), drain(&mut stdout, &mut stderr));
        ended
    };
    if let Ok(Err(error)) = timeout(settings.kill_grace, finished).await {
        return Err(Error::Follow(error));
    }
    let status = group.kill().await.map_err(Error::Follow)?;
    // What they wrote before they died.
    let _ = timeout(LAST_OUTPUT, drain(&mut stdout, &mut stderr)).await;

    if let Some(error) = ended_early {
        return Err(error);
    }
    let ((stdout, stdout_cut), (stderr, stderr_cut)) = (stdout.into_text(), stderr.into_text());
    match status.code() {
        Some(exit_code) => Ok(Ran { exit_code, stdout, stderr, truncated: stdout_cut || stderr_cut }),
        None => Err(Error::Killed { signal: status.signal().unwrap_or_default(), stderr }),
    }
}

async fn drain<A, B>(stdout: &mut Capture<A>, stderr: &mut Capture<B>)
where
    A: tokio::io::AsyncRead + Unpin,
    B: tokio::io::AsyncRead + Unpin,
{
    tokio::join!(stdout.drain(), stderr.drain());
}
