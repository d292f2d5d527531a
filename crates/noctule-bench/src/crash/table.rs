//! What the brokers have lost, as a table for a page.

use super::finding::{KINDS, Tally};
use super::recipe::{Ending, Recipe};

/// A column for each broker, with how often a thing was in all, and how often for each time that
/// the broker was ended.
pub(super) fn of(results: &[(Recipe, Tally)], ending: Ending, seed: u64) -> String {
    let ending = match ending {
        Ending::CutOnly => "connections cut, per round",
        Ending::Kill => "kill -9, per kill",
        Ending::Terminate => "SIGTERM, per stop",
    };
    let mut text = format!("| {ending}, seed {seed} |");
    for (broker, _) in results {
        text.push_str(&format!(" {} |", broker.name()));
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(results.len()));
    text.push('\n');
    row(&mut text, "rounds", results, |tally| tally.rounds.to_string());
    row(&mut text, "times ended", results, |tally| tally.kills.to_string());
    let mut count = |name: &str, of: fn(&Tally) -> u64| {
        row(&mut text, name, results, |tally| share(tally, of(tally)));
    };
    count("messages acknowledged", |tally| tally.acknowledged);
    count("deliveries owed", |tally| tally.owed);
    count("sessions promised", |tally| tally.sessions);
    count("subscriptions tried", |tally| tally.subscriptions);
    count("retained messages due", |tally| tally.retained);
    count("wills due", |tally| tally.wills);
    count("delivered again at QoS 1, as allowed", |tally| tally.repeated);
    for kind in KINDS {
        row(&mut text, kind.describe(), results, |tally| share(tally, tally.broken(kind)));
    }
    text
}

fn row(
    text: &mut String,
    name: &str,
    results: &[(Recipe, Tally)],
    cell: impl Fn(&Tally) -> String,
) {
    text.push_str(&format!("| {name} |"));
    for (_, tally) in results {
        text.push_str(&format!(" {} |", cell(tally)));
    }
    text.push('\n');
}

/// The count, and how much of it each end of the broker has.
fn share(tally: &Tally, count: u64) -> String {
    let times = if tally.kills == 0 { tally.rounds } else { tally.kills };
    if count == 0 || times == 0 {
        return count.to_string();
    }
    format!("{count} ({:.1})", count as f64 / times as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::finding::Kind;

    #[test]
    fn a_row_has_a_cell_for_each_broker() {
        let mut clean = Tally::default();
        (clean.rounds, clean.kills, clean.owed) = (2, 4, 10);
        let mut broken = clean.clone();
        broken.count(Kind::SessionLost);
        let results = [(Recipe::Noctule, clean), (Recipe::Mosquitto, broken)];
        let text = of(&results, Ending::Kill, 7);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| kill -9, per kill, seed 7 | noctule | mosquitto |");
        assert_eq!(lines[1], "|---|---:|---:|");
        assert!(lines.contains(&"| times ended | 4 | 4 |"), "{text}");
        assert!(lines.contains(&"| deliveries owed | 10 (2.5) | 10 (2.5) |"), "{text}");
        assert!(lines.contains(&"| sessions lost | 0 | 1 (0.2) |"), "{text}");
    }
}
