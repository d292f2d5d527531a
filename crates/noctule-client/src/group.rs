//! Routes that begin alike, and end together.

use std::sync::Arc;

use noctule_packet::QoS;

use crate::client::Client;
use crate::handler::Members;
use crate::route::Route;

/// Routes that begin alike, and that can be ended together.
///
/// ```no_run
/// # async fn run(client: noctule_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let plant = client.group("plant/{site}");
/// let mut alarms = plant.route("alarm").await?;
/// let mut states = plant.group("{unit}").route("state").await?;
/// // Both streams end, and so do their subscriptions.
/// plant.unsubscribe();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Group<D> {
    client: Client<D>,
    prefix: String,
    qos: QoS,
    /// Its own routes, and those of the groups around it, from the outermost on.
    members: Vec<Arc<Members>>,
}

impl<D> Group<D> {
    pub(crate) fn new(client: Client<D>, prefix: &str) -> Self {
        let members = vec![Arc::default()];
        Self { client, prefix: prefix.to_owned(), qos: QoS::ExactlyOnce, members }
    }

    /// The highest quality of service of its routes, unless they say otherwise.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// A route whose pattern is that of the group, `/`, and this.
    pub fn route(&self, pattern: &str) -> Route<D> {
        let route = self.client.route(&format!("{}/{pattern}", self.prefix)).qos(self.qos);
        route.member_of(&self.members)
    }

    /// A group within the group.
    #[must_use]
    pub fn group(&self, prefix: &str) -> Self {
        let mut members = self.members.clone();
        members.push(Arc::default());
        let prefix = format!("{}/{prefix}", self.prefix);
        Self { client: self.client.clone(), prefix, qos: self.qos, members }
    }

    /// Ends all handlers and streams of its routes, and of the groups within it, as
    /// [`Handler::stop`](crate::Handler::stop) does; the subscriptions stay. There may be other
    /// routes later.
    pub fn stop(&self) {
        if let Some(members) = self.members.last() {
            members.take().for_each(|member| member.stop());
        }
    }

    /// The same, and the subscriptions end that nobody else uses. The server's answer is not waited
    /// for.
    pub fn unsubscribe(&self) {
        if let Some(members) = self.members.last() {
            members.take().for_each(|member| member.unsubscribe());
        }
    }
}
