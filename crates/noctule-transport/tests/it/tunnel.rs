//! Proxies that work: each opens real tunnels, with or without credentials.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use data_encoding::BASE64;
use noctule_transport::{AsyncStream, TlsServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Whom a proxy lets in.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
}

/// Lets `handle` speak to everybody who connects, on a thread with tokio.
fn serve<F, R>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(handle(stream));
            }
        });
    });
    receiver.recv().unwrap()
}

/// An HTTP proxy.
pub(crate) struct HttpProxy {
    pub(crate) address: SocketAddr,
}

impl HttpProxy {
    pub(crate) fn start(known: Option<Known>, tls: Option<TlsServer>) -> Self {
        let address = serve(move |stream| {
            let tls = tls.clone();
            async move {
                match tls {
                    Some(tls) => http(Box::new(tls.accept(stream).await?), known).await,
                    None => http(Box::new(stream), known).await,
                }
            }
        });
        Self { address }
    }
}

async fn http(mut stream: Box<dyn AsyncStream>, known: Option<Known>) -> io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await?));
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let target = target.ok_or(io::ErrorKind::InvalidData)?;
    let is_known = known.is_none_or(|Known { user, password }| {
        let credentials = format!("{user}:{password}");
        let encoded = BASE64.encode(credentials.as_bytes());
        head.contains(&format!("\r\nProxy-Authorization: Basic {encoded}\r\n"))
    });
    if !is_known {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(refusal).await?;
        return stream.flush().await;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?;
        return stream.flush().await;
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await?;
    stream.flush().await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

/// A SOCKS5 proxy that notes which hosts it is asked for.
pub(crate) struct SocksProxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl SocksProxy {
    pub(crate) fn start(known: Option<Known>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let for_proxy = Arc::clone(&asked);
        let address = serve(move |stream| socks(stream, known, Arc::clone(&for_proxy)));
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn short_text(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

async fn socks(
    mut stream: TcpStream,
    known: Option<Known>,
    asked: Arc<Mutex<Vec<String>>>,
) -> io::Result<()> {
    assert_eq!(stream.read_u8().await?, 5);
    let mut methods = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut methods).await?;
    let method = if known.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, method]).await?;
    if let Some(known) = known {
        assert_eq!(stream.read_u8().await?, 1);
        let given = (short_text(&mut stream).await?, short_text(&mut stream).await?);
        let is_known = given == (known.user.to_owned(), known.password.to_owned());
        stream.write_all(&[1, u8::from(!is_known)]).await?;
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request {
        [5, 1, 0, 1] => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        [5, 1, 0, 4] => std::net::Ipv6Addr::from(stream.read_u128().await?).to_string(),
        [5, 1, 0, 3] => short_text(&mut stream).await?,
        other => panic!("{other:?}"),
    };
    let port = stream.read_u16().await?;
    asked.lock().unwrap().push(host.clone());
    let Ok(mut server) = TcpStream::connect((host.as_str(), port)).await else {
        return stream.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    stream.write_all(&[5, 0, 0, 3, 4, b't', b'e', b's', b't', 0, 0]).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}
