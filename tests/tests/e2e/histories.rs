//! The histories of `shared/core/tests/protocol_model/histories.md` on a real broker, on three nodes where replication
//! matters, each with its defence in place; where it can be shown, also that the broker alone does not defend.

mod fencing;
mod gathered;
mod hand_back;
mod long_lines;
mod owners;
mod reads;
mod timers;
mod undecided;
mod world;

/// Each section of the model's histories is named, as `History` or `Histories`, by the test that replays it.
#[test]
fn every_history_of_the_model_is_replayed() -> anyhow::Result<()> {
    // Cargo runs tests in their package's folder.
    let model = std::fs::read_to_string("../shared/core/tests/protocol_model/histories.md")?;
    let tests = [
        include_str!("forgotten_ends.rs"),
        include_str!("histories/fencing.rs"),
        include_str!("histories/hand_back.rs"),
        include_str!("histories/reads.rs"),
        include_str!("histories/timers.rs"),
        include_str!("histories/undecided.rs"),
    ];
    let named: Vec<_> = tests
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with("/// Histor"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    let sections: Vec<_> = model.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(sections.len() > 20, "only {} histories were read", sections.len());
    let missing: Vec<_> = sections.iter().filter(|section| !named.contains(section)).collect();
    assert!(missing.is_empty(), "no test on a real broker names {missing:?}");
    Ok(())
}
