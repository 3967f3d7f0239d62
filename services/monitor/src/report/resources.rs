//! What the processes of the fleet take of their machines.

use super::part::{Part, instant, table};
use crate::api::schema::Instance;

const MIB: f64 = 1024.0 * 1024.0;

/// A row for each process, and one for all of them.
pub(super) fn resources(instances: &[Instance], parts: &mut Vec<Part>) {
    parts.push(Part::Heading("Resources"));
    let columns = [
        ("Service", false),
        ("Process", false),
        ("Host", false),
        ("Version", false),
        ("Memory, MiB", true),
        ("CPU, cores", true),
        ("CPU since its start, s", true),
        ("Running", true),
        ("Slots", true),
        ("Since", false),
    ];
    let row = |of: &Instance| {
        vec![
            of.service.clone(),
            of.id.clone(),
            of.host.clone(),
            of.version.clone(),
            of.resident_bytes.map(mebibytes).unwrap_or_default(),
            of.cpu_cores.map(|cores| format!("{cores:.3}")).unwrap_or_default(),
            of.cpu_seconds.map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
            of.running.map(|count| count.to_string()).unwrap_or_default(),
            of.slots.map(|count| count.to_string()).unwrap_or_default(),
            of.started_at.map(instant).unwrap_or_default(),
        ]
    };
    let mut rows: Vec<_> = instances.iter().map(row).collect();
    if rows.len() > 1 {
        let sum = |of: fn(&Instance) -> Option<u32>| instances.iter().filter_map(of).sum::<u32>().to_string();
        let memory = mebibytes(instances.iter().filter_map(|of| of.resident_bytes).sum());
        let cores = format!("{:.3}", instances.iter().filter_map(|of| of.cpu_cores).sum::<f64>());
        let seconds = format!("{:.1}", instances.iter().filter_map(|of| of.cpu_seconds).sum::<f64>());
        let none = String::new;
        let (running, slots) = (sum(|of| of.running), sum(|of| of.slots));
        rows.push(vec![
            "all".to_owned(),
            none(),
            none(),
            none(),
            memory,
            cores,
            seconds,
            running,
            slots,
            none(),
        ]);
    }
    table(parts, &columns, rows, "No process says that it lives.");
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MIB)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn instance(service: &str, mebibytes: Option<u64>, running: Option<u32>) -> Instance {
        Instance {
            id: format!("{service}-a-1"),
            service: service.to_owned(),
            version: "0.1.0".to_owned(),
            host: "a".to_owned(),
            started_at: Some(Timestamp::UNIX_EPOCH),
            seen_at: Timestamp::UNIX_EPOCH,
            ready: true,
            not_ready: Vec::new(),
            resident_bytes: mebibytes.map(|count| count << 20),
            cpu_seconds: mebibytes.map(|_| 1.25),
            cpu_cores: mebibytes.map(|_| 0.5),
            running,
            slots: running.map(|_| 10),
            metrics: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn each_process_has_a_row_and_all_have_a_sum() {
        let all = [
            instance("dispatcher", Some(20), None),
            instance("worker", Some(30), Some(4)),
            instance("worker", None, Some(1)),
        ];
        let mut parts = Vec::new();
        resources(&all, &mut parts);
        let Some(Part::Table { rows, columns }) = parts.pop() else { panic!("a table") };
        assert!(rows.iter().all(|row| row.len() == columns.len()));
        assert_eq!(rows[1][4..9], ["30.0", "0.500", "1.2", "4", "10"]);
        assert_eq!(rows[2][4..7], ["", "", ""], "what is not known is not shown as nothing");
        assert_eq!(rows[3][4..9], ["50.0", "1.000", "2.5", "5", "20"]);
        resources(&[], &mut parts);
        assert_eq!(parts.pop(), Some(Part::Text("No process says that it lives.".to_owned())));
    }
}
