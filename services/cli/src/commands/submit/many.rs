//! Many tasks at once: a batch, all or none, or any number of lines, one by one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use windlass::Client;
use windlass_core::QueueName;

use super::line::MAX_LINE_BYTES;
use super::{batch, bulk};
use crate::commands::arguments::{duration, number, optional};
use crate::commands::{Error, codec};
use crate::connect::Fleet;
use crate::global::Global;

/// Which tasks, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Many at once")]
pub(crate) struct Many {
    /// Up to 1000 tasks, one JSON object a line, accepted all or none: a file, or - for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["kind", "from"])]
    batch: Option<PathBuf>,
    /// Any number of tasks, one JSON object a line, each accepted by itself: a file, or - for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with = "kind")]
    from: Option<PathBuf>,
    /// Spread the starts over this time, as 1h
    #[arg(long, value_name = "DURATION", requires = "from")]
    spread: Option<String>,
    /// Publish at most so many a second
    #[arg(long, value_name = "N", requires = "from")]
    rate: Option<String>,
    /// Begin with this line
    #[arg(long, value_name = "N", requires = "from")]
    start_line: Option<String>,
    /// Lines without an id get one from this name, their number and their text: submitting the same lines again under the
    /// same name makes no second jobs [default: of a file its name and when it was last changed; of standard input a new
    /// one]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
}

/// What to read, and how.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) source: PathBuf,
    pub(super) run: String,
    pub(super) queue: QueueName,
    pub(super) spread: Duration,
    pub(super) rate: u32,
    pub(super) start_line: u64,
}

/// Lines, one after the other.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    /// Of the last one, from 1.
    pub(super) number: u64,
    /// Of those that were read.
    pub(super) bytes: u64,
    /// Of all; none where that is not known.
    pub(super) total_bytes: Option<u64>,
}

/// A line, or why it cannot be read.
pub(super) enum Read {
    Text(String),
    /// It is not UTF-8, or too long.
    Unfit(String),
    End,
}

// === impl Many ===

impl Many {
    /// Whether many are to be submitted.
    pub(super) fn is_given(&self) -> bool {
        self.batch.is_some() || self.from.is_some()
    }
}

/// Submits a batch, or lines.
pub(super) async fn run(args: &Many, queue: Option<&str>, global: &Global) -> Result<ExitCode, Error> {
    let source = args.batch.as_ref().or(args.from.as_ref()).cloned().unwrap_or_default();
    let manner = Manner {
        run: match &args.run {
            Some(run) => run.clone(),
            None => run_of(&source)?,
        },
        queue: optional("queue", queue)?.unwrap_or_default(),
        spread: args.spread.as_deref().map(|text| duration("spread", text)).transpose()?.unwrap_or_default(),
        rate: args.rate.as_deref().map(|text| number("rate", text, 1, 1_000_000)).transpose()?.unwrap_or(0),
        start_line: match args.start_line.as_deref() {
            Some(text) => number("start_line", text, 1, u32::MAX)?.into(),
            None => 1,
        },
        source,
    };
    let codec = codec::of(global)?;
    let lines = Lines::open(&manner.source).await?;
    let fleet = Fleet::find(global)?;
    let client = Client::new(fleet.broker().await?.clone()).with_codec(codec);
    if args.batch.is_some() {
        batch::run(&client, &manner, lines, global.output).await
    } else {
        bulk::run(&client, &manner, lines, global.output).await
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What tells one run from another, where nobody says it.
fn run_of(path: &Path) -> Result<String, Error> {
    if is_standard_input(path) {
        return Ok(format!("{:016x}", rand::random::<u64>()));
    }
    let unread = |source: io::Error| Error::File { path: path.to_owned(), source };
    let changed = std::fs::metadata(path).and_then(|data| data.modified()).map_err(unread)?;
    let changed = jiff::Timestamp::try_from(changed).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{name} {changed}"))
}

// === impl Lines ===

impl Lines {
    async fn open(path: &Path) -> Result<Self, Error> {
        let unread = |source: io::Error| Error::File { path: path.to_owned(), source };
        let (reader, total_bytes): (Box<dyn AsyncBufRead + Send + Unpin>, _) = if is_standard_input(path) {
            (Box::new(BufReader::new(tokio::io::stdin())), None)
        } else {
            let file = File::open(path).await.map_err(unread)?;
            let data = file.metadata().await.map_err(unread)?;
            (Box::new(BufReader::with_capacity(256 * 1024, file)), data.is_file().then_some(data.len()))
        };
        Ok(Self { reader, number: 0, bytes: 0, total_bytes })
    }

    /// The next line that is not empty.
    pub(super) async fn next(&mut self) -> io::Result<Read> {
        loop {
            let mut line = Vec::new();
            let read =
                (&mut self.reader).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Ok(Read::End);
            }
            self.number += 1;
            self.bytes += read as u64;
            if line.len() > MAX_LINE_BYTES {
                if line.last() != Some(&b'\n') {
                    self.skip().await?;
                }
                return Ok(Read::Unfit(format!(
                    "has more than {MAX_LINE_BYTES} bytes: submit it alone, with --payload-file"
                )));
            }
            match String::from_utf8(line) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => return Ok(Read::Text(text.trim().to_owned())),
                Err(error) => return Ok(Read::Unfit(format!("is no UTF-8: {error}"))),
            }
        }
    }

    /// To the end of a line that is too long, without holding it.
    async fn skip(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf().await?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let (used, ended) = (end.map_or(buffer.len(), |at| at + 1), end.is_some() || buffer.is_empty());
            self.reader.consume(used);
            self.bytes += used as u64;
            if ended {
                return Ok(());
            }
        }
    }
}
