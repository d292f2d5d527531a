//! rumqttc, whose user polls its event loop.

use std::future::pending;

use anyhow::Result;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};

use crate::{IN_FLIGHT, Meter, PAYLOAD, Task};

async fn connect(task: &Task) -> Result<(AsyncClient, EventLoop)> {
    let name = format!("rumqttc-{}", std::process::id());
    let mut options = MqttOptions::new(name, "127.0.0.1", task.port);
    options.set_inflight(IN_FLIGHT);
    let (client, mut events) = AsyncClient::new(options, usize::from(IN_FLIGHT));
    while !matches!(events.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    Ok((client, events))
}

fn qos(task: &Task) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(task.qos)]
}

pub async fn publish(task: &Task) -> Result<()> {
    let (client, mut events) = connect(task).await?;
    let meter = Meter::start();
    let (topic, qos, messages) = (task.topic.clone(), qos(task), task.messages);
    tokio::spawn(async move {
        for _ in 0..messages {
            if client.publish(&topic, qos, false, PAYLOAD.to_vec()).await.is_err() {
                return;
            }
        }
        pending::<()>().await;
    });
    let mut left = messages;
    while left > 0 {
        match events.poll().await? {
            Event::Outgoing(Outgoing::Publish(_)) if qos == QoS::AtMostOnce => left -= 1,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => left -= 1,
            _ => {}
        }
    }
    meter.report("pub", messages);
    Ok(())
}

pub async fn subscribe(task: &Task) -> Result<()> {
    let (client, mut events) = connect(task).await?;
    client.subscribe(&task.topic, qos(task)).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    println!("ready");
    let mut meter = Meter::start();
    let mut arrived = 0;
    while arrived < task.messages {
        if let Event::Incoming(Packet::Publish(_)) = events.poll().await? {
            arrived += 1;
            if arrived == 1 {
                meter = Meter::start();
            }
        }
    }
    meter.report("sub", task.messages);
    Ok(())
}
