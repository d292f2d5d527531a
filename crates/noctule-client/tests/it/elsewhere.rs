//! A client whose runtime is not the one in which it is built and awaited.

use std::sync::mpsc;
use std::time::Duration;

use async_io::block_on;
use noctule_client::{Client, ClientBuildError, QoS, RouteError};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::house::{House, LONG};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).thread_name("given").enable_all().build().unwrap()
}

#[test]
fn a_client_runs_where_it_is_told_to() {
    assert!(Handle::try_current().is_err());
    let (house, runtime) = (House::new(), runtime());
    let error = house.builder("c").start().unwrap_err();
    assert!(matches!(error, ClientBuildError::NoRuntime), "{error}");
    let builder = house.builder("c").runtime(runtime.handle().clone());
    let (done, handled) = mpsc::channel();
    let client = block_on(async {
        let client = builder.connect().await.unwrap();
        let handle = move |message: noctule_client::RoutedMessage| {
            let thread = std::thread::current().name().map(str::to_owned);
            done.send((thread, message.capture("n").to_owned())).unwrap();
            std::future::ready(())
        };
        let _handler = client.route("in/{n}").handle(handle).await.unwrap();
        let receipt = client.publish("in/1", "x").qos(QoS::AtLeastOnce).send().unwrap();
        assert!(receipt.await.is_delivered());
        // Times are kept by whoever waits outside, too.
        client.connected_within(Duration::from_secs(1)).await.unwrap();
        client
    });
    let (thread, number) = handled.recv_timeout(LONG).unwrap();
    assert_eq!((thread.as_deref(), number.as_str()), (Some("given"), "1"));
    assert!(block_on(client.shutdown(LONG)).is_clean());
}

#[test]
fn a_runtime_that_was_entered_is_as_good() {
    let (house, runtime) = (House::new(), runtime());
    let entered = runtime.enter();
    let client = house.builder("c").start().unwrap();
    drop(entered);
    block_on(client.connected()).unwrap();
    assert!(block_on(client.shutdown(LONG)).is_clean());
}

#[test]
fn a_handler_without_a_runtime_is_refused() {
    let house = House::new();
    let client = Client::builder(house.url()).start_thread().unwrap();
    let handler = client.route("in/{n}").handle(|_| std::future::ready(()));
    let error = block_on(handler).unwrap_err();
    assert!(matches!(error, RouteError::NoRuntime), "{error}");
}
