//! The broker's data is copied while it is stopped, and a fleet goes on from the copy: `docs/backup.md`.

use std::path::Path;

use anyhow::Result;
use std::time::Duration;
use windlass_core::{JobId, JobState, Transition};
use windlass_testkit::Fleet;

use crate::support::{command, submit};

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_on_from_a_copy_of_the_store() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let finished: JobId = "01890a5d-ac96-774b-bcce-b302099a8060".parse()?;
    command(&["true"]).into_submission(&fleet).id(finished).submit().await?;
    fleet.result(finished).await?;
    let delayed =
        command(&["echo", "later"]).into_submission(&fleet).delay(Duration::from_secs(4)).submit().await?.id;
    fleet.tap.heard(delayed, Transition::Accepted).await?;
    for label in ["dispatcher", "worker"] {
        fleet.take(label)?.stop().await?;
    }
    let waiting = submit(&fleet, command(&["echo", "waited"])).await?;

    // A second store, so that nothing of the first can serve by accident.
    fleet.broker.stop().await?;
    let copy = tempfile::tempdir()?;
    copy_folder(&fleet.broker.folder().join("store"), &copy.path().join("store"))?;
    std::fs::remove_dir_all(fleet.broker.folder().join("store"))?;
    copy_folder(&copy.path().join("store"), &fleet.broker.folder().join("store"))?;
    fleet.broker.restart().await?;

    fleet.service("dispatcher-2").await?;
    fleet.service("worker-2").await?;
    assert_eq!(fleet.result(waiting).await?["stdout"], "waited\n");
    assert_eq!(fleet.result(delayed).await?["stdout"], "later\n");
    // What had ended stays ended.
    command(&["false"]).into_submission(&fleet).id(finished).submit().await?;
    let after = submit(&fleet, command(&["true"])).await?;
    fleet.tap.heard(after, Transition::Succeeded).await?;
    assert_eq!(fleet.ended(finished).await?.state, JobState::Succeeded);
    assert!(!fleet.tap.of(finished).contains(&(Transition::Started, 2)));
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
