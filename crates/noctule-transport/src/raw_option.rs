//! A socket option that the system knows by two numbers: the one place that calls it unsafely,
//! since no library has a safe call for all of them.

use std::io;

use socket2::Socket;

/// An option of a socket, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawOption {
    pub(crate) level: i32,
    pub(crate) name: i32,
    pub(crate) value: i32,
}

impl RawOption {
    /// Whether this system's sockets can be told so.
    pub(crate) const EXISTS: bool = cfg!(unix);

    /// Sets it. The system's reason against it, with the numbers: it stands beside an address.
    pub(crate) fn apply(self, socket: &Socket) -> io::Result<()> {
        self.set(socket).map_err(|error| {
            let Self { level, name, value } = self;
            let text = format!("the socket option {name} of level {level} is not {value}: {error}");
            io::Error::new(error.kind(), text)
        })
    }

    #[cfg(unix)]
    fn set(self, socket: &Socket) -> io::Result<()> {
        use std::mem::size_of_val;
        use std::os::fd::AsRawFd;

        let length = libc::socklen_t::try_from(size_of_val(&self.value));
        let length = length.map_err(|_| io::ErrorKind::InvalidInput)?;
        #[expect(unsafe_code, reason = "there is no safe call that takes any option")]
        // SAFETY: the descriptor is open as long as `socket` is, and the pointer is to as many
        // bytes as `length` says, which the system only reads, and only during the call.
        let result = unsafe {
            let value = (&raw const self.value).cast();
            libc::setsockopt(socket.as_raw_fd(), self.level, self.name, value, length)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[cfg(not(unix))]
    fn set(self, _socket: &Socket) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
