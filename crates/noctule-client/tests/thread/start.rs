//! How the clients of these tests run: on threads of their own.

use noctule_client::{Client, ClientBuildError, ClientBuilder, ConnectError};

use crate::house::soon;

pub(crate) fn start(builder: ClientBuilder) -> Result<Client, ClientBuildError> {
    builder.start_thread()
}

pub(crate) async fn connect(builder: ClientBuilder) -> Result<Client, ConnectError> {
    let client = start(builder)?;
    soon(client.connected()).await?;
    Ok(client)
}
