//! The `spec!` macro: which normative statements a test proves.

/// Names the normative statements that the enclosing test proves. It does nothing at run time; the
/// conformance table reads it from the source.
///
/// ```
/// noctule_packet::spec!("MQTT5-1.5.4-2", "MQTT311-1.5.3-2");
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! spec {
    ($($id:literal),+ $(,)?) => {
        let _ = [$($id),+];
    };
}
