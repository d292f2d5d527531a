//! How the clients of these tests run: as futures on a runtime that knows nothing of tokio, each on
//! a thread of its own, so that one that panics does no harm to others.

use std::thread;
use std::time::Duration;

use async_io::{Timer, block_on};
use async_net::TcpStream;
use noctule_client::transport::{BoxError, Url};
use noctule_client::{Client, ClientBuildError, ClientBuilder, ConnectError, Runtime};
use tokio::sync::oneshot;

use crate::house::soon;

pub(crate) struct Smol;

impl Runtime for Smol {
    type Stream = TcpStream;

    async fn open(&self, url: &Url) -> Result<TcpStream, BoxError> {
        let stream = TcpStream::connect((url.host().unwrap(), url.port().unwrap())).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn sleep(&self, time: Duration) {
        Timer::after(time).await;
    }

    async fn unblock<T: Send + 'static>(&self, step: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = oneshot::channel();
        thread::spawn(|| tell.send(step()));
        told.await.expect("the step has panicked")
    }
}

pub(crate) fn start(builder: ClientBuilder) -> Result<Client, ClientBuildError> {
    let (client, driver) = builder.drive(Smol)?;
    thread::spawn(|| block_on(driver));
    Ok(client)
}

pub(crate) async fn connect(builder: ClientBuilder) -> Result<Client, ConnectError> {
    let client = start(builder)?;
    soon(client.connected()).await?;
    Ok(client)
}
