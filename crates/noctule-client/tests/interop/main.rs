//! The client against other projects' programs, over real sockets: Mosquitto and RabbitMQ as
//! servers, tinyproxy and MicroSocks as proxies. A test whose program is not installed is skipped,
//! unless `CI` is set.

mod authority;
mod conversation;
mod mosquitto;
mod program;
mod proxies;
mod rabbitmq;
mod servers;
