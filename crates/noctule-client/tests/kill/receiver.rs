//! A program that receives with a store is killed at random moments: whatever is published to it,
//! one of its processes is given, and none of them twice.

use std::collections::BTreeSet;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use noctule_client::{Client, QoS};
use tokio::task::spawn_blocking;

use crate::{House, LONG, ROUNDS, Running, STORE, qos, say};

const RECEIVE_URL: &str = "NOCTULE_KILL_RECEIVE_URL";
const RECEIVE_LAST: &str = "NOCTULE_KILL_RECEIVE_LAST";
/// How many messages there are for each process.
const EACH: u32 = 60;

/// The program: says what it was given, and acknowledges that.
#[tokio::test]
async fn receiving_program() {
    let Ok(url) = env::var(RECEIVE_URL) else { return };
    let last: u32 = env::var(RECEIVE_LAST).ok().and_then(|it| it.parse().ok()).expect("a number");
    let client = Client::builder(url)
        .client_id("receiver")
        .session_expiry(Duration::from_secs(3_600))
        .store(env::var(STORE).expect("the other test says it"))
        .start()
        .expect("it starts");
    let letters = client.subscribe("letters").qos(QoS::ExactlyOnce).manual_acknowledgement(true);
    let mut letters = letters.with_unclaimed(true).await.expect("it is granted");
    say("ready 0");
    loop {
        let letter = letters.recv().await.expect("a letter");
        let number: u32 = letter.text().and_then(|it| it.parse().ok()).expect("a number");
        say(&format!("got {number}"));
        letter.acknowledge();
        if number == last {
            break;
        }
    }
    let report = client.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
}

/// Runs the program until it has said so much, or has ended. What it was given.
fn run(url: &str, store: &Path, last: u32, lines: Option<u64>, is_ready: &Sender<()>) -> Vec<u32> {
    let mut program = Command::new(env::current_exe().expect("it runs"));
    program.args(["--exact", "receiver::receiving_program", "--nocapture"]);
    program.env(RECEIVE_URL, url).env(STORE, store).env(RECEIVE_LAST, last.to_string());
    let mut running = Running(program.stdout(Stdio::piped()).spawn().expect("it starts"));
    let said = BufReader::new(running.0.stdout.take().expect("it is piped")).lines();
    let (mut given, mut is_killed) = (Vec::new(), false);
    for line in said.map_while(Result::ok) {
        if line.trim() == "ready 0" {
            is_ready.send(()).expect("somebody waits");
        }
        if let Some(number) = line.trim().strip_prefix("got ") {
            given.push(number.parse().expect("a number"));
        }
        // What it said before it died counts.
        if !is_killed && lines.is_some_and(|lines| given.len() as u64 >= lines) {
            running.0.kill().expect("it runs");
            is_killed = true;
        }
    }
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_arrives_is_given_to_one_of_the_killed_programs() {
    let House { broker, url, folder, numbers } = House::new("receiver").await;
    drop(numbers);
    let seed = RandomState::new().hash_one(2);
    println!("seed {seed}");
    let publisher = Client::builder(&url).client_id("publisher").connect().await.expect("there");
    let (mut chance, mut next) = (seed | 1, 0);
    let (mut given, mut repeated) = (BTreeSet::new(), 0);
    for round in 0..=ROUNDS {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        // The last is not killed.
        let lines = (round < ROUNDS).then_some(chance % u64::from(EACH) + 1);
        let (url, store, last) = (url.clone(), folder.0.clone(), EACH * (ROUNDS + 1) - 1);
        let (tell, ready) = channel();
        let running = spawn_blocking(move || run(&url, &store, last, lines, &tell));
        let ready = spawn_blocking(move || ready.recv_timeout(LONG));
        ready.await.expect("it ends").expect("it subscribes");
        for number in next..next + EACH {
            let text = number.to_string();
            let letter = publisher.publish("letters", &text).qos(qos(number));
            assert!(letter.send().expect("room").await.is_delivered());
        }
        next += EACH;
        let of_this = running.await.expect("it ends");
        let distinct: BTreeSet<u32> = of_this.iter().copied().collect();
        assert_eq!(distinct.len(), of_this.len(), "twice in one process: {of_this:?}");
        repeated += distinct.intersection(&given).count();
        given.extend(distinct);
    }
    println!("{repeated} were given to two processes: those that died acknowledging them");
    assert_eq!(given, (0..next).collect(), "something is lost");
    broker.stop(Duration::ZERO).await.expect("it stops");
}
