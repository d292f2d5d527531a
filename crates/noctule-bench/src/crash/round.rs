//! One round of a crash test: everybody comes, a load, the crash, and what is left of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::cast::{CHANGING, Part};
use super::client::{Client, Phase};
use super::journal::{ClientIndex, Event, Will};
use super::recipe::{Ending, Server};
use super::stage::Stage;

const TURN: Duration = Duration::from_millis(1);

/// How many messages are published before the crash, unless that takes too long.
const LOAD_MESSAGES: (u64, u64) = (20, 1_600);
const LOAD_DEADLINE: Duration = Duration::from_secs(4);

/// How long the load goes on then, in microseconds, so that the crash comes at any moment of what
/// the broker does.
const LOAD_MICROSECONDS: (u64, u64) = (0, 5_000);

/// When the broker is killed again after a restart, in microseconds, and in how many of a hundred
/// rounds.
const AGAIN_MICROSECONDS: (u64, u64) = (0, 60_000);
const AGAIN_PERCENT: u64 = 20;

/// In how many of a hundred rounds somebody has a will with a short delay.
const DELAY_PERCENT: u64 = 25;

/// Messages in a millisecond that each publisher may send.
const PACE: u64 = 2;

/// So many milliseconds are made up for if the machine had no time for this test.
const CATCH_UP: u64 = 8;

const WINDOW: (u64, u64) = (2, 16);

/// How many acknowledgements a dawdler may hold back.
const DAWDLE: usize = 8;

/// Nothing may happen for so long while an answer is owed: a disk may be slow when others use it.
const ANSWER: Duration = Duration::from_secs(90);

/// Nothing may come for so long before everything counts as having come.
const QUIET: Duration = Duration::from_millis(150);

/// How long a look at the retained messages is not to be disturbed by the next one.
const LOOK_INTERVAL: Duration = Duration::from_millis(40);

impl Stage {
    /// One round; how long its load lasted.
    pub(super) fn round(&mut self, server: &mut Server, ending: Ending) -> Result<Duration> {
        self.arrange()?;
        let start = Instant::now();
        self.load()?;
        let duration = start.elapsed();
        self.stop(server, ending)?;
        self.return_all()?;
        if ending == Ending::Kill && self.random.chance(AGAIN_PERCENT) {
            let (from, to) = AGAIN_MICROSECONDS;
            let end = Instant::now() + Duration::from_micros(self.random.between(from, to));
            while Instant::now() < end {
                self.turn(TURN)?;
            }
            self.stop(server, ending)?;
            self.return_all()?;
        }
        self.look_after()?;
        Ok(duration)
    }

    /// Everybody is connected and subscribed as the parts want it.
    fn arrange(&mut self) -> Result<()> {
        for index in self.with_part(|part| !matches!(part, Part::Looking | Part::Mortal(_))) {
            if self.clients[index].phase == Phase::Closed {
                self.connect(index, false)?;
            } else if self.clients[index].sender.len() > 0 {
                // The broker has let it wait; what was under way was judged.
                self.connect(index, true)?;
            }
        }
        self.wait_until_open()?;
        for index in 0..self.clients.len() {
            self.act(index, |client, notes| client.subscribe_to_all_if_open(notes))?;
        }
        let is_ready = |client: &Client| client.is_idle() && client.is_subscribed();
        ensure!(
            self.wait_for(ANSWER, |stage| stage
                .clients
                .iter()
                .all(|client| { is_ready(client) || client.phase != Phase::Open }))?,
            "SUBSCRIBE is not answered"
        );
        // To wait for a delayed will takes long, so few rounds have one.
        let has_delay = self.random.chance(DELAY_PERCENT);
        let comes = |part| match part {
            Part::Mortal(will) => will != Will::Soon || has_delay,
            _ => false,
        };
        for index in self.with_part(comes) {
            if self.clients[index].phase == Phase::Closed {
                self.connect(index, false)?;
            }
        }
        self.wait_until_open()
    }

    fn wait_until_open(&mut self) -> Result<()> {
        let waits = |client: &Client| client.phase == Phase::Connecting;
        let is_done = self.wait_for(ANSWER, |stage| !stage.clients.iter().any(waits))?;
        ensure!(is_done, "CONNECT is not answered");
        Ok(())
    }

    fn load(&mut self) -> Result<()> {
        for index in self.with_part(|part| part == Part::Offline) {
            let in_good_order = self.random.chance(50);
            self.leave(index, in_good_order)?;
        }
        for index in self.with_part(|part| part == Part::Dawdling) {
            self.clients[index].receiver.patience = DAWDLE;
        }
        let (from, to) = LOAD_MESSAGES;
        let target = self.published() + self.random.between(from, to);
        let (from, to) = LOAD_MICROSECONDS;
        let rest = Duration::from_micros(self.random.between(from, to));
        let (start, mut turns, mut last_look) = (Instant::now(), 0, Instant::now());
        let mut end = start + LOAD_DEADLINE;
        let mut is_ending = false;
        loop {
            if !is_ending && self.published() >= target {
                is_ending = true;
                end = end.min(Instant::now() + rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let due = start.elapsed().as_millis() as u64;
            if turns < due {
                self.publish_some(PACE * (due - turns).min(CATCH_UP))?;
                turns = due;
                for index in 0..self.clients.len() {
                    self.improvise(index)?;
                }
            }
            if last_look.elapsed() > LOOK_INTERVAL {
                last_look = Instant::now();
                self.look()?;
            }
            self.turn(TURN.min(left))?;
        }
    }

    fn publish_some(&mut self, count: u64) -> Result<()> {
        for publisher in self.with_part(|part| part == Part::Publishing) {
            if self.clients[publisher].phase != Phase::Open {
                continue;
            }
            let own = |stream: &usize| self.streams[*stream].publisher == publisher;
            let own: Vec<usize> = (0..self.streams.len()).filter(own).collect();
            let (from, to) = WINDOW;
            let window = self.random.between(from, to) as usize;
            let window = window.min(self.clients[publisher].receive_maximum);
            for _ in 0..count {
                if self.clients[publisher].sender.len() < window {
                    let stream = self.random.pick(&own);
                    self.publish(stream)?;
                }
            }
        }
        Ok(())
    }

    /// What a client may do at any moment, by its part.
    fn improvise(&mut self, index: ClientIndex) -> Result<()> {
        let client = &self.clients[index];
        let (part, phase) = (client.member.part, client.phase);
        let is_idle = client.is_idle();
        match (part, phase) {
            (Part::Publishing, Phase::Open) if self.random.chance(1) => {
                let in_good_order = self.random.chance(30);
                self.leave(index, in_good_order)
            }
            (Part::Returning, Phase::Open) if self.random.chance(2) => {
                let in_good_order = self.random.chance(50);
                self.leave(index, in_good_order)
            }
            (Part::TakenOver, Phase::Open) if self.random.chance(2) => self.connect(index, false),
            (Part::Mortal(Will::AtOnce), Phase::Open) if self.random.chance(1) => {
                let in_good_order = self.random.chance(30);
                self.leave(index, in_good_order)
            }
            (Part::Changing, Phase::Open) if is_idle && self.random.chance(10) => {
                let group = self.random.pick(&CHANGING);
                self.act(index, |client, notes| {
                    if client.groups.contains(&group) {
                        client.unsubscribe(group, notes)
                    } else {
                        client.subscribe(group, notes)
                    }
                })
            }
            (Part::Cleaning, Phase::Open) if is_idle && self.random.chance(4) => {
                let is_subscribed = self.clients[index].is_subscribed();
                if !is_subscribed && self.random.chance(50) {
                    return self.act(index, |client, notes| client.subscribe_to_all(notes));
                }
                self.leave(index, true)
            }
            (Part::Cleaning, Phase::Closed) if self.random.chance(10) => {
                let clean_start = self.random.chance(60);
                self.connect(index, clean_start)
            }
            (Part::Publishing | Part::Returning | Part::Mortal(Will::AtOnce), Phase::Closed)
                if self.random.chance(10) =>
            {
                self.connect(index, false)
            }
            _ => Ok(()),
        }
    }

    /// Asks for all retained messages, over a new connection.
    fn look(&mut self) -> Result<()> {
        for index in self.with_part(|part| part == Part::Looking) {
            if self.clients[index].phase != Phase::Connecting {
                self.connect(index, true)?;
            }
        }
        Ok(())
    }

    /// Ends the broker and starts it again, or ends all connections to it.
    fn stop(&mut self, server: &mut Server, ending: Ending) -> Result<()> {
        if ending == Ending::CutOnly {
            for index in 0..self.clients.len() {
                if self.clients[index].phase != Phase::Closing {
                    self.leave(index, false)?;
                }
            }
            return self.drain();
        }
        self.expect_end();
        server.stop(ending)?;
        self.drain()?;
        self.note(Event::Stopped);
        self.move_to(server.start().context("the broker does not start again")?);
        Ok(())
    }

    /// Everybody with a session comes back, but those whose will is to be published.
    fn return_all(&mut self) -> Result<()> {
        let stays_away =
            |part| matches!(part, Part::Looking | Part::Mortal(Will::AtOnce | Will::Soon));
        for index in self.with_part(|part| !stays_away(part)) {
            self.clients[index].receiver.patience = 0;
            self.connect(index, false)?;
        }
        Ok(())
    }

    /// Finishes what was under way, tries every subscription, and waits for what is owed.
    fn look_after(&mut self) -> Result<()> {
        self.wait_until_open()?;
        // Who was thrown out cannot finish.
        let is_done = |client: &Client| client.sender.len() == 0 || client.phase != Phase::Open;
        let is_finished = |stage: &Self| stage.clients.iter().all(is_done);
        self.wait_for(ANSWER, is_finished)?;
        self.note(Event::Aftermath);
        // Before anything is published that would replace what is missing.
        self.look()?;
        self.wait_until_open()?;
        self.wait_for(self.patience(), |stage| stage.checker.retained_outstanding() == 0)?;
        for stream in 0..self.streams.len() {
            let publisher = self.streams[stream].publisher;
            if self.clients[publisher].phase == Phase::Open {
                let window = self.clients[publisher].receive_maximum;
                self.wait_for(ANSWER, |stage| {
                    let client = &stage.clients[publisher];
                    client.sender.len() < window || client.phase != Phase::Open
                })?;
                self.publish(stream)?;
            }
        }
        self.wait_for(ANSWER, is_finished)?;
        loop {
            self.turn(QUIET)?;
            let silence = self.silence();
            let is_complete = silence > QUIET && self.checker.outstanding() == 0;
            if is_complete || silence > self.patience() {
                break;
            }
        }
        self.note(Event::Settled);
        Ok(())
    }
}
