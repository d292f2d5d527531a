//! What only tokio's clients have: transports of the program's own, which may never finish saying
//! farewell, and runtimes, which may end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use noctule_client::transport::{BoxedStream, ConnectFuture, Connector};
use noctule_client::{Client, Ended};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::abandoned::expect_end;
use crate::house::{House, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server};

struct Clinging(TcpStream);

impl AsyncRead for Clinging {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Clinging {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

struct Clingingly(String);

impl Connector for Clingingly {
    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.0).await?;
            Ok(Box::new(Clinging(stream)) as BoxedStream)
        })
    }
}

#[tokio::test]
async fn a_client_ends_although_its_transport_does_not() {
    let house = House::new();
    let connector = Clingingly(house.address.to_string());
    let client = connect(Client::builder(house.url()).connector(connector)).await.unwrap();
    let patience = Duration::from_secs(6);
    assert!(timeout(patience, soon(client.shutdown(patience))).await.unwrap().is_clean());
}

struct Slowly(String);

impl Connector for Slowly {
    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            sleep(Duration::from_millis(1_100)).await;
            Ok(Box::new(TcpStream::connect(&self.0).await?) as BoxedStream)
        })
    }
}

/// The time for connecting is one for all of it: CONNACK has what the transport leaves.
#[tokio::test]
async fn a_transport_that_takes_all_of_the_time_leaves_none_for_connack() {
    let server = Server::new();
    let connector = Slowly(server.url().replace("mqtt://", ""));
    let builder = server.builder().connector(connector);
    let second = Duration::from_secs(1);
    let client = start(builder.settings(|it| it.connect_timeout = Some(second))).unwrap();
    let mut stream = server.accept().await;
    sleep(second / 2).await;
    // If it still listened, it would be in time for a second that begins with the transport.
    let _ = stream.write_all(&CONNACK).await;
    assert_eq!(*client.last_failure().unwrap().ended, Ended::ConnectTimeout);
}

#[tokio::test]
async fn nobody_waits_for_a_client_whose_runtime_is_gone() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let entered = runtime.enter();
    let client = start(Client::builder("mqtt://127.0.0.1:1")).unwrap();
    drop(entered);
    expect_end(client, || runtime.shutdown_background()).await;
}
