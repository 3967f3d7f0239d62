//! Names of objects: `<queue>/<job id>/<word>`, the word new for each upload.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use windlass_core::{JobId, ObjectRef, QueueName};

/// Whose an object is, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Of the job.
    pub queue: QueueName,
    /// The job.
    pub job_id: JobId,
}

/// A name that nobody can guess: who may add to the bucket may also add to an object whose name it knows.
pub(super) fn fresh(queue: &QueueName, job_id: JobId) -> String {
    format!("{queue}/{job_id}/{:032x}", rand::random::<u128>())
}

/// As one word of a subject, by ADR-20.
pub(super) fn encode(name: &str) -> String {
    URL_SAFE.encode(name)
}

pub(super) fn decode(word: &str) -> Option<String> {
    String::from_utf8(URL_SAFE.decode(word).ok()?).ok()
}

/// Whose an object of this name is; none if it has no name of ours.
pub(super) fn read(name: &str) -> Option<Owner> {
    let mut parts = name.split('/');
    let (queue, job_id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let is_whole = parts.next().is_some_and(|word| !word.is_empty()) && parts.next().is_none();
    is_whole.then_some(Owner { queue, job_id })
}

/// Whose an object is; none if its name does not say.
pub fn owner(object: &ObjectRef) -> Option<Owner> {
    read(&object.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        let owner = Owner {
            queue: "mail".parse().unwrap(),
            job_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        };
        let name = fresh(&owner.queue, owner.job_id);
        assert_ne!(name, fresh(&owner.queue, owner.job_id));
        assert_eq!(read(&decode(&encode(&name)).unwrap()), Some(owner));
        for bad in ["", "mail", "mail/7/x", "mail/01890a5d-ac96-774b-bcce-b302099a8057", &format!("{name}/y")]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
