//! What can go wrong for the program that embeds the broker: one type per operation.

use std::io;
use std::path::PathBuf;

use noctule_broker_core::LimitOutOfRange;
use noctule_packet::{QoS, ReasonCode};
use noctule_store::StoreError;
use thiserror::Error;

/// Why a broker did not start. The operating system's reason, if there is one, is the
/// [`source`](std::error::Error::source) and not part of the text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener's address cannot be understood or resolved.
    #[error("{address:?} is no address to listen on")]
    Address {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A listener cannot be opened, for example because another program uses its address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A listener would let anybody in from other machines, and nobody said that this is wanted.
    #[error(
        "{address} can be reached from other machines, and clients are not authenticated; \
         listen on a loopback address, or say that everybody may connect with \
         allow_anonymous (--allow-anonymous)"
    )]
    AnonymousNotAllowed {
        /// The address.
        address: String,
    },
    /// A listener was given no protocol version, so that it would refuse everybody.
    #[error("{address} speaks no protocol version; leave its versions out to speak all")]
    NoVersion {
        /// The address as it was given.
        address: String,
    },
    /// A listener promises what the broker does not keep.
    #[error(
        "{address} is to have durability {wanted:?}, but the broker has {of_broker:?}; a listener \
         can have \"memory\" or what its broker has"
    )]
    Durability {
        /// The address as it was given.
        address: String,
        /// What it is to have.
        wanted: &'static str,
        /// What the broker has.
        of_broker: &'static str,
    },
    /// No packet can hold the Response Information.
    #[error(
        "response_information has {length} bytes: expected at most 65535, and no U+0000 among them"
    )]
    ResponseInformation {
        /// How many bytes it has.
        length: usize,
    },
    /// A limit has a value that no broker can work with.
    #[error(transparent)]
    Limit(#[from] LimitOutOfRange),
    /// The store cannot be opened.
    #[error("cannot open the store in {}", .path.display())]
    Store {
        /// Its directory.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// What there is in the store's directory is damaged, and [`Recovery::Refuse`] was asked for.
    ///
    /// [`Recovery::Refuse`]: crate::Recovery::Refuse
    #[error(
        "the store in {} is damaged, and recovery is \"refuse\"; \"repair\" starts with what can \
         be read, \"empty\" with nothing: {findings}",
        .path.display()
    )]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What is damaged, and what there is besides.
        findings: String,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start the broker's threads")]
    Thread(#[source] io::Error),
}

/// Why a broker that had started is no longer there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A shard panicked: a defect of the broker. All of it has stopped.
    #[error("a shard panicked: {message}")]
    ShardPanicked {
        /// What the panic said.
        message: String,
    },
    /// The disk did not answer when the broker was stopped, and it has ended without. Nothing that
    /// was acknowledged is lost.
    #[error("the disk of {} does not answer: the broker has ended as in a crash", .path.display())]
    StoreSilent {
        /// The directory.
        path: PathBuf,
    },
}

/// The broker has stopped, or is about to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Error)]
#[error("the broker has stopped")]
pub struct Stopped;

/// Why a publication of the host program was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is no valid topic name.
    #[error("{topic:?} is no valid topic name")]
    InvalidTopic {
        /// The topic.
        topic: String,
    },
    /// A field is longer than MQTT can say.
    #[error("a field of the message is longer than MQTT can say")]
    FieldTooLong,
    /// The whole packet is larger than the broker takes.
    #[error("the message needs {size} bytes, limits.maximum_packet_size is {maximum}")]
    PacketTooLarge {
        /// What it needs.
        size: usize,
        /// What the broker takes.
        maximum: usize,
    },
    /// The QoS is higher than the broker was set up for.
    #[error("QoS {} is not available: features.maximum_qos is {}", wanted.level(), maximum.level())]
    QosNotSupported {
        /// What was asked for.
        wanted: QoS,
        /// The highest there is.
        maximum: QoS,
    },
    /// Retained messages were switched off.
    #[error("retained messages are not available: features.retain_available is false")]
    RetainNotSupported,
    /// The broker refused the message.
    #[error("the broker refused the message: {} (0x{:02x})", .0.name(), .0.value())]
    Refused(ReasonCode),
    /// The host's connection inside the broker ended before the message was acknowledged.
    #[error("the host was disconnected before the message was acknowledged")]
    Disconnected,
    /// The broker has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a subscription of the host program was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No filter was given.
    #[error("a subscription needs a topic filter")]
    NoFilter,
    /// A filter is not valid.
    #[error("{filter:?} is no valid topic filter")]
    InvalidFilter {
        /// The filter.
        filter: String,
    },
    /// The broker refused a filter.
    #[error("the broker refused {filter:?}: {} (0x{:02x})", .reason.name(), .reason.value())]
    Refused {
        /// The filter.
        filter: String,
        /// Why.
        reason: ReasonCode,
    },
    /// The host's connection inside the broker was refused or ended.
    #[error("the host was not let in: {} (0x{:02x})", .0.name(), .0.value())]
    Disconnected(ReasonCode),
    /// The broker has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
