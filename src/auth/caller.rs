/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Caller {
    /// A client that has not said who it is.
    #[default]
    Nobody,
    /// A client whose token or certificate names a user.
    User {
        name: String,
        /// The revision of the users by which it is known.
        revision: u64,
    },
    /// The cluster itself, such as for a lease that ran out: it is never refused.
    Cluster,
}

impl Caller {
    /// The user's name, if there is one.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User { name, .. } => Some(name),
            Self::Nobody | Self::Cluster => None,
        }
    }
}
