//! Any sequence of inputs keeps a shard's invariants.

mod invariants;
mod link;
mod packets;
mod settings;
mod world;

use std::time::Duration;

use noctule_broker_core::{Command, Timestamp};
use noctule_packet::ReasonCode;

use crate::choices::Choices;
use world::World;

const STEPS_MAX: usize = 400;
/// How far time moves in one step, in milliseconds; once in a while, so far that all is over.
const LEAPS: [u64; 8] = [0, 1, 100, 1_000, 3_000, 20_000, 4_000_000, 1 << 40];

pub(crate) fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut world = World::new(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_done() {
            break;
        }
        step(&mut world, &mut choices);
        world.check();
    }
    world.finish();
}

fn step(world: &mut World, choices: &mut Choices<'_>) {
    let kind = choices.byte() % 32;
    let slot = world.slot(choices);
    match kind {
        0 => world.open(slot),
        1..=3 => {
            world.open(slot);
            let connect = packets::connect(choices);
            world.send(slot, &connect, true);
        }
        4..=6 => send(world, slot, choices, packets::subscribe),
        7 => send(world, slot, choices, packets::unsubscribe),
        8..=12 => send(world, slot, choices, packets::publish),
        13..=15 => world.acknowledge(slot, choices),
        16 => send(world, slot, choices, packets::pubrel),
        17 => {
            let wrong = packets::any_acknowledgement(choices);
            world.send(slot, &wrong, false);
        }
        18 => {
            let count = usize::from(choices.byte() % 64);
            let bytes = choices.bytes(count).to_vec();
            world.send(slot, &bytes, false);
        }
        19 => send(world, slot, choices, packets::farewell),
        20..=22 => {
            let count = usize::from(choices.byte()) * 16;
            let _ = world.read(slot, if count == 0 { usize::MAX } else { count });
        }
        23 | 24 => world.answer(choices),
        25 => {
            let bits = choices.byte();
            let _ = world.carry(slot, slot + 1, usize::from(bits % 16) + 1);
        }
        26 => world.answer_again(choices),
        27 => world.advance(Duration::from_millis(choices.pick(&LEAPS))),
        28 => world.close(slot),
        29 => world.go_on(slot),
        30 => world.timeout_or_flush(slot, choices),
        _ => command(world, choices),
    }
}

fn send(
    world: &mut World,
    slot: usize,
    choices: &mut Choices<'_>,
    packet: fn(&mut Choices<'_>, noctule_packet::Version) -> Vec<u8>,
) {
    let bytes = packet(choices, world.version(slot));
    world.send(slot, &bytes, true);
}

fn command(world: &mut World, choices: &mut Choices<'_>) {
    match choices.byte() % 64 {
        0 => world.command(&Command::Stop {
            reason: ReasonCode::ServerShuttingDown,
            server_reference: None,
        }),
        number => world.command(&Command::Kick {
            client_id: packets::CLIENT_IDS[usize::from(number % 4)].into(),
            reason: ReasonCode::AdministrativeAction,
        }),
    }
}

/// When everything begins.
const START: Timestamp = Timestamp::from_millis(1_000_000);
