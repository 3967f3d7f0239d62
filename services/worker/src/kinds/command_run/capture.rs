//! What a program writes into a pipe, while it writes.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::kinds::excerpt::Excerpt;

/// One output of a program. All of it is read, so that the program is never blocked; its beginning is kept.
#[derive(Debug)]
pub(super) struct Capture<R> {
    /// None once it has ended.
    pipe: Option<R>,
    excerpt: Excerpt,
    chunk: Box<[u8]>,
}

// === impl Capture ===

impl<R: AsyncRead + Unpin> Capture<R> {
    pub(super) fn new(pipe: Option<R>, limit: usize) -> Self {
        Self { pipe, excerpt: Excerpt::new(limit), chunk: vec![0; 8192].into() }
    }

    /// Until the other end is closed by all who hold it. May be dropped and called again: nothing is lost.
    pub(super) async fn drain(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut self.chunk).await {
                Ok(0) => self.pipe = None,
                Ok(count) => self.excerpt.push(&self.chunk[..count]),
                Err(error) => {
                    tracing::debug!(%error, "an output of a command cannot be read further");
                    self.pipe = None;
                }
            }
        }
    }

    /// The text, and whether something is missing from it.
    pub(super) fn into_text(self) -> (String, bool) {
        let (text, cut) = self.excerpt.into_text();
        (text, cut || self.pipe.is_some())
    }
}
