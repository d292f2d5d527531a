//! Opening a store takes its time, and nobody else's.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use noctule_client::{Client, ClientBuilder, RealDisk, StoreSettings};
use tokio::task::yield_now;

use crate::house::{House, soon};
use crate::start::connect;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A client whose disk does nothing before it is told to.
fn slow(url: String, name: &str) -> (ClientBuilder, Sender<()>, Folder) {
    let path = std::env::temp_dir().join(format!("noctule-opening-{}-{name}", std::process::id()));
    let folder = Folder(path.clone());
    let (say, heard) = channel();
    let heard = Mutex::new(heard);
    let store = StoreSettings::on_disk(move || {
        let heard = heard.lock().expect("nobody has panicked");
        heard.recv_timeout(Duration::from_secs(20)).expect("somebody else gets a turn");
        Ok(Box::new(RealDisk::open(&path)?))
    });
    let builder = Client::builder(url).client_id("slow").session_expiry(Duration::from_secs(60));
    (builder.store(store), say, folder)
}

/// On the only thread there is.
#[tokio::test]
async fn others_go_on_while_a_store_is_opened() {
    let house = House::new();
    let (builder, say, _folder) = slow(house.url(), "others");
    let opened = async {
        let builder = builder.open_store().await.expect("it opens");
        // Nothing is left to be read.
        soon(connect(builder)).await.expect("a connection")
    };
    let (client, ()) = tokio::join!(opened, async {
        yield_now().await;
        say.send(()).expect("it is opened");
    });
    assert!(client.store_summary().is_some_and(|summary| summary.is_clean()));
}

#[tokio::test]
async fn others_go_on_while_a_client_connects_that_has_one() {
    let house = House::new();
    let (builder, say, _folder) = slow(house.url(), "connects");
    let (client, ()) = tokio::join!(soon(builder.connect()), async {
        yield_now().await;
        say.send(()).expect("it is opened");
    });
    assert!(client.expect("a connection").store_summary().is_some());
}

/// A disk that panics takes the one with it who waits for it, and nobody else.
#[tokio::test]
async fn a_disk_that_panics_is_no_endless_wait() {
    let store = StoreSettings::on_disk(|| panic!("no disk"));
    let builder = Client::builder("mqtt://localhost").client_id("slow").store(store);
    let opened = soon(tokio::spawn(async { builder.open_store().await.map(drop) })).await;
    assert!(opened.expect_err("it panics").is_panic());
}
