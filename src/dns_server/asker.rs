use std::net::SocketAddr;

/// Who asks, and over what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}
