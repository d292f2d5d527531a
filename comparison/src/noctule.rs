//! This project's client, run by a task or by a thread.

use std::time::Duration;

use anyhow::{Context, Result};
use noctule_client::{Client, ClientBuilder, QoS, Version};

use crate::{IN_FLIGHT, Meter, PAYLOAD, Task};

fn builder(task: &Task) -> ClientBuilder {
    Client::builder(format!("mqtt://127.0.0.1:{}", task.port))
        .version(Version::V3_1_1)
        .client_id(format!("noctule-{}", std::process::id()))
        .settings(|settings| settings.limits.in_flight_max = IN_FLIGHT)
}

fn qos(task: &Task) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(task.qos)]
}

pub async fn task(task: &Task) -> Result<Client> {
    Ok(builder(task).connect().await?)
}

pub async fn thread(task: &Task) -> Result<Client> {
    let client = builder(task).start_thread()?;
    client.connected().await?;
    Ok(client)
}

pub async fn publish(task: &Task, client: Client) -> Result<()> {
    let meter = Meter::start();
    for _ in 0..task.messages {
        let publish = client.publish(&task.topic, &PAYLOAD).qos(qos(task));
        drop(publish.send_when_ready().await?);
    }
    client.idle().await;
    meter.report("pub", task.messages);
    client.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

pub async fn subscribe(task: &Task, client: Client) -> Result<()> {
    let mut messages = client.subscribe(&task.topic).qos(qos(task)).await?;
    println!("ready");
    messages.recv().await.context("it ended")?;
    let meter = Meter::start();
    for _ in 1..task.messages {
        messages.recv().await.context("it ended")?;
    }
    meter.report("sub", task.messages);
    Ok(())
}
