//! A bare connection: what an attacker, or a test that looks behind the product's back, uses.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use async_nats::{ConnectOptions, Event, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use windlass_broker::{Auth, Options};

use crate::process::PATIENCE;

/// A connection that hears what the server complains of.
pub struct Client {
    nats: async_nats::Client,
    api_prefix: String,
    complaints: mpsc::Receiver<String>,
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// Reads of one stream.
const AT_A_TIME: usize = 32;
const POLL: Duration = Duration::from_millis(10);

// === impl Client ===

impl Client {
    /// Connects as these options say.
    pub async fn connect(options: Options) -> Result<Self> {
        let (heard, complaints) = mpsc::channel(1024);
        let mut connect = match &options.auth {
            Auth::UserPassword { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.reveal().to_owned())
            }
            Auth::None => ConnectOptions::new(),
            Auth::Token(_) | Auth::CredentialsFile(_) => bail!("only users with passwords, or none"),
        };
        if let Some(prefix) = options.inbox_prefix {
            connect = connect.custom_inbox_prefix(prefix);
        }
        let connect = connect.event_callback(move |event| {
            if let Event::ServerError(error) = event {
                // A test that lets a thousand pass unread has other troubles.
                let _ = heard.try_send(error.to_string());
            }
            std::future::ready(())
        });
        let servers: Vec<&str> = options.url.split(',').collect();
        let nats = connect.connect(servers).await?;
        let api_prefix = options.api_prefix.unwrap_or_else(|| "$JS.API".to_owned());
        Ok(Self { nats, api_prefix, complaints })
    }

    /// The connection itself.
    pub fn nats(&self) -> &async_nats::Client {
        &self.nats
    }

    /// Publishes, with a reply subject of the caller's choice or none, and waits until the server has read it.
    pub async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<()> {
        let (subject, body) = (subject.to_owned(), Bytes::copy_from_slice(body.as_ref()));
        let headers = header_map(headers);
        match reply {
            None => self.nats.publish_with_headers(subject, headers, body).await?,
            Some(reply) => {
                self.nats.publish_with_reply_and_headers(subject, reply.to_owned(), headers, body).await?;
            }
        }
        tokio::time::timeout(TIMEOUT, self.nats.flush()).await.context("the server does not read")??;
        Ok(())
    }

    /// Publishes into a stream, and returns the stream's answer.
    pub async fn store(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<Value> {
        let request = async_nats::Request::new()
            .headers(header_map(headers))
            .payload(Bytes::copy_from_slice(body.as_ref()))
            .timeout(Some(TIMEOUT));
        let answer = self.nats.send_request(subject.to_owned(), request).await?;
        Ok(serde_json::from_slice(&answer.payload)?)
    }

    /// Asks JetStream's API.
    pub async fn api(&self, call: &str, request: &Value) -> Result<Value> {
        let subject = self.api_subject(call);
        let request = async_nats::Request::new().payload(request.to_string().into()).timeout(Some(TIMEOUT));
        Ok(serde_json::from_slice(&self.nats.send_request(subject, request).await?.payload)?)
    }

    /// Where this user sees a call of JetStream's API.
    pub fn api_subject(&self, call: &str) -> String {
        format!("{}.{call}", self.api_prefix)
    }

    /// The subjects of a stream with how many messages each has, null if there are none. The broker lists a hundred
    /// thousand at a time; so what changes meanwhile may be missed, or told though it is gone.
    pub async fn subjects(&self, stream: &str) -> Result<Value> {
        let mut all = serde_json::Map::new();
        loop {
            let request = json!({ "subjects_filter": ">", "offset": all.len() });
            let mut info = self.api(&format!("STREAM.INFO.{stream}"), &request).await?;
            let Value::Object(page) = info["state"]["subjects"].take() else { break };
            let before = all.len();
            all.extend(page);
            if all.len() == before || all.len() as u64 >= info["total"].as_u64().unwrap_or_default() {
                break;
            }
        }
        Ok(if all.is_empty() { Value::Null } else { Value::Object(all) })
    }

    /// All objects of a bucket, name and bytes, read as the client library does it.
    pub async fn objects(&self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>> {
        use futures::StreamExt as _;
        use tokio::io::AsyncReadExt as _;
        let jetstream = async_nats::jetstream::with_prefix(self.nats.clone(), &self.api_prefix);
        let reading = async {
            let store = jetstream.get_object_store(bucket).await?;
            let mut list = store.list().await?;
            let mut objects = Vec::new();
            while let Some(info) = list.next().await {
                let name = info?.name;
                let mut bytes = Vec::new();
                store.get(&name).await?.read_to_end(&mut bytes).await?;
                objects.push((name, bytes));
            }
            Ok(objects)
        };
        tokio::time::timeout(PATIENCE, reading).await.context("the objects cannot be read in time")?
    }

    /// All messages of a stream, subject and body, as its leader has them; waits for a leader.
    pub async fn messages(&self, stream: &str) -> Result<Vec<(String, Bytes)>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_messages(stream).await {
                Err(_) if Instant::now() < deadline => sleep(POLL).await,
                read => return read,
            }
        }
    }

    async fn try_messages(&self, stream: &str) -> Result<Vec<(String, Bytes)>> {
        let jetstream = async_nats::jetstream::with_prefix(self.nats.clone(), &self.api_prefix);
        let stream = jetstream.get_stream(stream).await?;
        let state = &stream.cached_info().state;
        let mut messages = Vec::new();
        // One that never held a message begins with 0, which no message has.
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            match stream.get_raw_message(sequence).await {
                Ok(message) => messages.push((message.subject.to_string(), message.payload)),
                // Acknowledged, deleted or expired.
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(messages)
    }

    /// The messages of a stream from this sequence on, several at a time, and the sequence after the last; once, without
    /// waiting for a leader.
    pub async fn messages_from(&self, stream: &str, from: u64) -> Result<(Vec<(String, Bytes)>, u64)> {
        let jetstream = async_nats::jetstream::with_prefix(self.nats.clone(), &self.api_prefix);
        let stream = jetstream.get_stream(stream).await?;
        let state = &stream.cached_info().state;
        let (first, last) = (state.first_sequence.max(from).max(1), state.last_sequence);
        let reads = (first..=last).map(|sequence| {
            let stream = &stream;
            async move { one(stream.get_raw_message(sequence).await) }
        });
        let messages: Vec<_> = stream::iter(reads).buffered(AT_A_TIME).try_collect().await?;
        Ok((messages.into_iter().flatten().collect(), last + 1))
    }

    /// The last message of each of these subjects, several at a time; once, without waiting for a leader.
    pub async fn last_of(&self, stream: &str, subjects: &[String]) -> Result<Vec<(String, Bytes)>> {
        let jetstream = async_nats::jetstream::with_prefix(self.nats.clone(), &self.api_prefix);
        let stream = jetstream.get_stream(stream).await?;
        let reads = subjects.iter().map(|subject| {
            let stream = &stream;
            async move { one(stream.get_last_raw_message_by_subject(subject).await) }
        });
        let messages: Vec<_> = stream::iter(reads).buffered(AT_A_TIME).try_collect().await?;
        Ok(messages.into_iter().flatten().collect())
    }

    /// Subscribes.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscriber> {
        Ok(self.nats.subscribe(subject.to_owned()).await?)
    }

    /// The next message of a subscription, within a bound.
    pub async fn next(&self, subscriber: &mut Subscriber) -> Result<Message> {
        let next = tokio::time::timeout(TIMEOUT, subscriber.next()).await.context("no message in time")?;
        next.context("the subscription has ended")
    }

    /// Waits for the server's complaint that this may not be done.
    pub async fn permission_error(&mut self, subject: &str) -> Result<String> {
        let heard = async {
            while let Some(complaint) = self.complaints.recv().await {
                let text = complaint.to_lowercase();
                if text.contains("permissions violation") && text.contains(&subject.to_lowercase()) {
                    return Ok(complaint);
                }
            }
            bail!("the connection has ended")
        };
        tokio::time::timeout(TIMEOUT, heard)
            .await
            .with_context(|| format!("no permission error about {subject}"))?
    }
}

/// None where it was acknowledged, deleted or expired.
fn one(read: Result<StreamMessage, RawMessageError>) -> Result<Option<(String, Bytes)>> {
    match read {
        Ok(message) => Ok(Some((message.subject.to_string(), message.payload))),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).fold(
        HeaderMap::new(),
        |mut map, (name, value)| {
            map.insert(name, value);
            map
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::TestBroker;

    /// At once: the wait for a leader is longer than this.
    #[tokio::test]
    async fn a_stream_that_never_held_a_message_has_none() {
        let server = TestBroker::with_credentials().await.unwrap();
        server.provision(&windlass_broker::provision::Layout::default()).await.unwrap();
        let admin = server.client("admin").await.unwrap();
        let reading = async {
            assert_eq!(admin.messages("COMMANDS").await.unwrap(), []);
            assert_eq!(admin.messages_from("COMMANDS", 0).await.unwrap().0, []);
        };
        tokio::time::timeout(crate::PATIENCE / 4, reading).await.unwrap();
    }
}
