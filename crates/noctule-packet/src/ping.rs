//! PINGREQ and PINGRESP: two bytes each.

use alloc::vec::Vec;

use crate::wire::Reader;
use crate::{DecodeError, EncodeError, Frame, PacketType, TextRules, Version};

macro_rules! ping {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl $name {
            /// Reads the packet.
            pub fn decode(
                frame: &Frame<'_>,
                version: Version,
                _rules: TextRules,
            ) -> Result<Self, DecodeError> {
                frame.check(PacketType::$name, version)?;
                Reader::new(frame.body).finish()?;
                Ok($name)
            }

            /// Appends the packet.
            pub fn encode(&self, _version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                out.extend_from_slice(&[PacketType::$name.first_byte(), 0]);
                Ok(())
            }
        }
    };
}

ping! {
    /// A client's sign of life.
    Pingreq
}

ping! {
    /// The server's answer to PINGREQ.
    Pingresp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, split};

    #[test]
    fn pings_are_empty() {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5_0] {
            let Ok(Framing::Complete(frame)) = split(&[0xC0, 1, 0], 10) else { panic!() };
            let decoded = Pingreq::decode(&frame, version, TextRules::Strict);
            assert_eq!(decoded, Err(DecodeError::TrailingBytes));
            let Ok(Framing::Complete(frame)) = split(&[0xD0, 0], 10) else { panic!() };
            assert_eq!(Pingresp::decode(&frame, version, TextRules::Strict), Ok(Pingresp));
            assert_eq!(
                Pingreq::decode(&frame, version, TextRules::Strict),
                Err(DecodeError::UnexpectedPacketType { packet_type: PacketType::Pingresp })
            );
        }
    }
}
