//! The cluster of the tests is a real one: it elects, survives a death, and takes the dead node back.

use anyhow::Result;
use windlass_broker::provision::{Layout, desired, verify};
use windlass_testkit::Cluster;

#[tokio::test]
async fn a_cluster_survives_its_leader_and_takes_it_back() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let layout = Layout { replicas: 3, ..Layout::default() };
    let broker = cluster.provision(&layout).await?;
    let wanted = desired(broker.names(), &layout);
    assert_eq!(verify(&broker, &wanted).await?, []);

    let client = cluster.client().await?;
    let first = cluster.leader(&client, "JOBS").await?;
    cluster.kill9(first).await?;
    let second = loop {
        let leader = cluster.leader(&client, "JOBS").await?;
        if leader != first {
            break leader;
        }
    };
    client.store("windlass.job.mail.ready.normal.1", &[], "kept").await?;
    cluster.restart(first).await?;
    cluster.kill9(second).await?;
    loop {
        if cluster.leader(&client, "JOBS").await? != second {
            break;
        }
    }
    assert_eq!(client.subjects("JOBS").await?["windlass.job.mail.ready.normal.1"], 1);
    Ok(())
}
