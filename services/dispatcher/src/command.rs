//! Operators' commands, each acknowledged once it is carried out and said.

use std::time::Duration;

use prost::Message as _;
use windlass_broker::commands::Verb;
use windlass_broker::dead;
use windlass_broker::delivery::Delivered;
use windlass_proto::{Error as Unfit, v1};

use crate::order::{Before, Carried, Order};
use crate::shared::Shared;
use crate::{cancel, discard, redrive, release};

/// How long a command waits for a task that no dispatcher has admitted yet.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before a command that could not be carried out is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a verb that this version does not know waits for a dispatcher of another.
const VERB_PATIENCE: Duration = Duration::from_mins(10);
/// Between two looks at it.
const VERB_AGAIN: Duration = Duration::from_secs(5);

/// Deals with one message of COMMANDS.
pub(crate) async fn carry_out(shared: &Shared, delivered: Delivered) {
    let (verb, order) = match read(shared, &delivered) {
        Ok(read) => read,
        // Of a newer program, for a newer dispatcher. Counted in looks, as below.
        Err(unfit)
            if unfit.is_unknown && delivered.count <= VERB_PATIENCE.as_secs() / VERB_AGAIN.as_secs() =>
        {
            shared.broker.not_understood("commands", &unfit);
            let _ = delivered.handle().nak(Some(VERB_AGAIN)).await;
            return;
        }
        Err(unfit) => return refuse(shared, &delivered, unfit.to_string()).await,
    };
    let carried = match verb {
        Verb::Cancel => cancel::cancel(shared, &order).await,
        Verb::Release => release::release(shared, &order).await,
        Verb::Redrive => redrive::redrive(shared, &order).await,
        Verb::Discard => discard::discard(shared, &order).await,
    };
    let verb = verb.as_str();
    metrics::counter!("windlass_commands_total", "verb" => verb, "carried" => label(&carried)).increment(1);
    let acknowledged = match carried {
        Carried::Out | Carried::Refused => delivered.handle().ack().await,
        // Counted in looks, not by the command's age: after an outage its task may be admitted only now.
        Carried::NoJob if delivered.count > PATIENCE.as_secs() / AGAIN.as_secs() => {
            tracing::warn!(job_id = %order.job_id, queue = %order.queue, verb, "a command for a job that does not exist");
            delivered.handle().ack().await
        }
        Carried::NoJob | Carried::Open => delivered.handle().nak(Some(AGAIN)).await,
    };
    if acknowledged.is_err() {
        tracing::debug!(
            "a command's acknowledgement was not sent; it is carried out again, which does no harm"
        );
    }
}

fn label(carried: &Carried) -> &'static str {
    match carried {
        Carried::Out => "out",
        Carried::NoJob => "no_job",
        Carried::Refused => "refused",
        Carried::Open => "open",
    }
}

fn read(shared: &Shared, delivered: &Delivered) -> Result<(Verb, Order), Unfit> {
    let names = shared.broker.names();
    let (queue, verb) = names
        .parse_command_subject(&delivered.subject)
        .ok_or_else(|| Unfit::new("subject", "expected a queue and a verb"))?;
    let verb: Verb = verb.parse().map_err(|e| Unfit { is_unknown: true, ..Unfit::new("verb", e) })?;
    let command = v1::Command::decode(delivered.body.clone())?;
    let dead_at = windlass_proto::read_instant("dead_at", command.dead_at)?;
    if matches!(verb, Verb::Redrive | Verb::Discard) && dead_at.is_none() {
        return Err(Unfit::new("dead_at", "is missing, so it is not known which letter is meant"));
    }
    let order = Order {
        queue: queue.parse().map_err(|e| Unfit::new("queue", e))?,
        job_id: command.job_id.parse().map_err(|e| Unfit::new("job_id", e))?,
        reason: command.reason,
        requested_by: command.requested_by,
        dead_at,
        ordered_at: delivered.published_at,
        delivered: match delivered.count {
            1 if delivered.suspect => Before::Perhaps,
            1 => Before::Never,
            _ => Before::Certainly,
        },
        trace: delivered.trace(),
        deadline: delivered.received_at + shared.layout.ack_wait * 2 / 3,
    };
    Ok((verb, order))
}

async fn refuse(shared: &Shared, delivered: &Delivered, reason: String) {
    metrics::counter!("windlass_malformed_total", "stream" => "commands").increment(1);
    tracing::warn!(subject = delivered.subject, reason, "not a command");
    let letter = v1::DeadLetter {
        reason,
        code: "invalid_command".to_owned(),
        original_subject: delivered.subject.clone(),
        original_body: delivered.body.clone(),
        dead_at: Some(windlass_proto::instant(shared.broker.now())),
        ..v1::DeadLetter::default()
    };
    let id = delivered.derived_id();
    match dead::publish(&shared.broker, &dead::unknown_queue(), id, letter).await {
        Ok(()) => {
            let _ = delivered.handle().ack().await;
        }
        Err(error) => tracing::error!(%error, "a dead letter was not stored; the message is delivered again"),
    }
}
