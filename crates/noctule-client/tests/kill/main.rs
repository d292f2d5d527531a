//! A program that publishes with a store is killed at random moments, and before each thing that it
//! does to its disk: nothing that it was told is stored is lost, QoS 2 arrives once, and the order
//! is kept. And one that receives: nothing is lost that it was not given.

mod mortal;
mod receiver;

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use noctule_broker::{Broker, Handle};
use noctule_client::{Client, QoS, StoreSettings, Subscription};
use tokio::time::timeout;

const ROUNDS: u32 = 20;
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(20);
/// What the program is told.
const URL: &str = "NOCTULE_KILL_URL";
const STORE: &str = "NOCTULE_KILL_STORE";
const FIRST: &str = "NOCTULE_KILL_FIRST";
const COUNT: &str = "NOCTULE_KILL_COUNT";
const OPERATIONS: &str = "NOCTULE_KILL_OPERATIONS";

fn qos(number: u32) -> QoS {
    if number.is_multiple_of(2) { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
}

/// Says something past whatever captures the output of tests, in one write.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush()).expect("a reader");
}

/// The directory, if this program is to live, or else one whose changes are counted.
fn store(path: String) -> StoreSettings {
    match env::var(OPERATIONS) {
        Ok(number) => {
            let operations = number.parse().expect("a number");
            StoreSettings::on_disk(move || mortal::open(&path, operations))
        }
        Err(_) => path.into(),
    }
}

/// The program: the other tests start it as a process of its own, and kill it. Without that there
/// is nothing to publish.
#[tokio::test]
async fn program() {
    if env::var_os(URL).is_none() {
        return;
    }
    let told = |name| env::var(name).expect("the other test says it");
    let number = |name| told(name).parse::<u32>().expect("a number");
    let client = Client::builder(told(URL))
        .client_id("killed")
        .session_expiry(Duration::from_secs(3_600))
        .store(store(told(STORE)))
        .start()
        .expect("it starts");
    let first = number(FIRST);
    let mut unstored = std::collections::VecDeque::new();
    for number in first..first + number(COUNT) {
        say(&format!("send {number}"));
        let payload = number.to_string();
        let publish = client.publish("numbers", &payload).qos(qos(number));
        let receipt = publish.send_when_ready().await.expect("it is accepted");
        unstored.push_back((number, receipt));
        // Some are under way together.
        if unstored.len() > 5 {
            let (number, receipt) = unstored.pop_front().expect("there are some");
            receipt.stored().await.expect("there is a disk");
            say(&format!("stored {number}"));
        }
    }
    client.idle().await;
    let report = client.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
    say("done 0");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the programs have said.
#[derive(Debug, Default)]
struct Journal {
    stored: Vec<u32>,
    next: u32,
    is_done: bool,
}

impl Journal {
    fn note(&mut self, line: &str) -> bool {
        let Some((word, number)) = line.trim().split_once(' ') else { return false };
        let Ok(number) = number.parse() else { return false };
        match word {
            "send" => self.next = number + 1,
            "stored" => self.stored.push(number),
            "done" => self.is_done = true,
            _ => return false,
        }
        true
    }

    fn program(&self, url: &str, folder: &Folder, count: u32) -> Command {
        let mut program = Command::new(env::current_exe().expect("it runs"));
        program.args(["--exact", "program", "--nocapture"]);
        program.env(URL, url).env(STORE, &folder.0);
        program.env(FIRST, self.next.to_string()).env(COUNT, count.to_string());
        program.stdout(Stdio::piped());
        program
    }

    /// Runs the program, and kills it after so many lines.
    fn run(&mut self, mut program: Command, lines: Option<u64>) {
        let mut running = Running(program.spawn().expect("it starts"));
        let mut said = BufReader::new(running.0.stdout.take().expect("it is piped")).lines();
        let mut heard = 0;
        while lines.is_none_or(|lines| heard < lines) {
            let Some(Ok(line)) = said.next() else { return };
            heard += u64::from(self.note(&line));
        }
        running.0.kill().expect("it runs");
        running.0.wait().expect("it was killed");
        // What it said before it died counts.
        for line in said.map_while(Result::ok) {
            self.note(&line);
        }
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Everything up to the last message.
async fn receive(numbers: &mut Subscription, last: u32) -> Vec<u32> {
    let mut received = Vec::new();
    loop {
        let message = timeout(LONG, numbers.recv()).await.expect("it comes").expect("a message");
        let number = message.text().and_then(|text| text.parse().ok()).expect("a number");
        received.push(number);
        if number == last {
            return received;
        }
    }
}

/// Where the program publishes to, and who hears it.
struct House {
    broker: Handle,
    url: String,
    numbers: Subscription,
    folder: Folder,
}

impl House {
    async fn new(name: &str) -> Self {
        let broker = Broker::builder().shards(1).listen("127.0.0.1:0").start().expect("a broker");
        let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().expect("it listens"));
        let listener = Client::builder(&url).client_id("listener").connect().await.expect("there");
        let subscribe = listener.subscribe("numbers").qos(QoS::ExactlyOnce);
        let numbers = subscribe.await.expect("it is granted");
        let folder = env::temp_dir().join(format!("noctule-kill-{name}-{}", std::process::id()));
        Self { broker, url, numbers, folder: Folder(folder) }
    }

    /// Runs programs, and checks what has come of what they said.
    async fn check(self, run: impl FnOnce(&str, &Folder) -> Journal + Send + 'static) -> Journal {
        let Self { broker, url, mut numbers, folder } = self;
        let running = tokio::task::spawn_blocking(move || run(&url, &folder));
        let journal = running.await.expect("it ends");
        assert!(journal.is_done, "the last one was not killed");
        let received = receive(&mut numbers, journal.next - 1).await;
        let mut first = Vec::new();
        for number in received {
            if !first.contains(&number) {
                first.push(number);
            } else {
                assert_eq!(qos(number), QoS::AtLeastOnce, "{number} came twice");
            }
        }
        assert!(first.is_sorted(), "out of order: {first:?}");
        let lost: Vec<_> = journal.stored.iter().filter(|number| !first.contains(number)).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        broker.stop(Duration::ZERO).await.expect("it stops");
        journal
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_by_killing_the_program() {
    let seed = RandomState::new().hash_one(1);
    println!("seed {seed}");
    let run = move |url: &str, folder: &Folder| {
        let (mut journal, mut chance) = (Journal::default(), seed | 1);
        for _ in 0..ROUNDS {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            journal.run(journal.program(url, folder, 10_000), Some(chance % 150 + 1));
            assert!(!journal.is_done, "it was too fast to be killed");
        }
        journal.run(journal.program(url, folder, 20), None);
        journal
    };
    let journal = House::new("random").await.check(run).await;
    assert!(journal.stored.len() > 200, "only {} were stored", journal.stored.len());
}

/// Each program dies at another thing that it is about to do to its disk, until one has nothing to
/// do any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_by_its_death_at_anything_that_it_does_to_its_disk() {
    let run = |url: &str, folder: &Folder| {
        let (mut journal, mut operations) = (Journal::default(), 0);
        while !journal.is_done {
            operations += 1;
            assert!(operations < 500, "it never ends");
            let mut program = journal.program(url, folder, 10);
            program.env(OPERATIONS, operations.to_string());
            journal.run(program, None);
        }
        println!("{operations} programs");
        assert!(operations > 20, "it ends after {operations} things");
        journal
    };
    House::new("each").await.check(run).await;
}
