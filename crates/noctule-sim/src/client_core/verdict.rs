//! What must hold when a run has come to rest: what a user was told is true, nothing is lost or
//! doubled that may not be, and everything has come in its order.

use std::collections::BTreeMap;

use noctule_client_core::{Doubt, Outcome};
use noctule_packet::QoS;

use super::Reached;
use super::party::{Party, Published};

/// Judges a run, and counts what it has reached.
pub(super) fn judge(parties: &[Party], reached: &mut Reached) -> Result<(), String> {
    for party in parties {
        reached.arrived += party.arrivals.len() as u64;
        reached.sessions_lost += party.sessions_lost;
        for published in party.published.values() {
            let in_doubt = matches!(published.outcome, Some(Outcome::Indeterminate { .. }));
            reached.doubts += u64::from(in_doubt);
            if published.outcome.is_none() && !published.is_forgotten {
                return Err(format!("client {}: {published:?} never ended", party.number));
            }
        }
    }
    // Whoever has a session that stays gets everything.
    for reader in parties.iter().filter(|party| party.is_lasting()) {
        for publisher in parties {
            judge_pair(reader, publisher)?;
        }
    }
    Ok(())
}

fn judge_pair(reader: &Party, publisher: &Party) -> Result<(), String> {
    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    let mut first = Vec::new();
    for arrival in reader.arrivals.iter().filter(|it| it.publisher == publisher.number) {
        *times.entry(arrival.number).or_default() += u32::from(!arrival.is_void);
        if !first.contains(&arrival.number) {
            first.push(arrival.number);
        }
    }
    let about = |published: &Published, count: u32| {
        let (reader, publisher) = (reader.number, publisher.number);
        format!("client {reader} got {published:?} of client {publisher} {count} times")
    };
    for published in publisher.published.values() {
        let count = times.remove(&published.number).unwrap_or(0);
        if !is_right(published, count) {
            return Err(about(published, count));
        }
    }
    if let Some((number, _)) = times.first_key_value() {
        return Err(format!("client {} got {number}, which nobody has published", reader.number));
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let of_qos = |number: &u32| {
            publisher.published.values().any(|it| it.number == *number && it.qos == qos)
        };
        let of_qos: Vec<u32> = first.iter().copied().filter(of_qos).collect();
        if !of_qos.is_sorted() {
            let (reader, publisher) = (reader.number, publisher.number);
            let from = format!("from client {publisher} at {qos:?}");
            return Err(format!("client {reader} got {of_qos:?} {from}: out of order"));
        }
    }
    Ok(())
}

/// Whether a publication that came to this may have arrived so often.
fn is_right(published: &Published, count: u32) -> bool {
    match (&published.outcome, published.qos) {
        (None, _) | (Some(_), QoS::AtMostOnce) => count <= 1,
        (Some(Outcome::Delivered { .. }), QoS::AtLeastOnce) => count >= 1,
        (Some(Outcome::Delivered { .. }), QoS::ExactlyOnce) => count == 1,
        (Some(Outcome::Indeterminate { why }), QoS::ExactlyOnce) => {
            matches!(why, Doubt::Cancelled | Doubt::SessionLost) && count <= 1
        }
        // A session that is lost loses none of them.
        (Some(Outcome::Indeterminate { why }), QoS::AtLeastOnce) => *why == Doubt::Cancelled,
        (Some(Outcome::Dropped { .. }), _) => count == 0,
        // Nobody refuses anything here.
        (Some(Outcome::Rejected { .. }), _) => false,
    }
}
