//! What goes wrong with PEMS, and whether it passes.

use std::time::Duration;

/// Texts of PEMS that no repetition changes.
const FINAL_MESSAGES: [&str; 3] = ["record not found", "authorization failed", "not a valid"];

/// Why PEMS did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemsError {
    /// No connection: nothing was asked.
    #[error("PEMS cannot be reached: {0}")]
    Unreachable(String),
    /// The connection was cut before the answer was whole; what was asked may have been done.
    #[error("the connection to PEMS was cut: {0}")]
    Cut(String),
    /// No answer in time.
    #[error("PEMS did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// PEMS wants fewer requests.
    #[error("PEMS had too many requests")]
    TooManyRequests {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// PEMS is in trouble.
    #[error("PEMS failed with status {status}: {message}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// What it says, shortened.
        message: String,
    },
    /// The credentials are not accepted.
    #[error("PEMS refused the credentials (PFA_PEMS_USERNAME and PFA_PEMS_PASSWORD, or PFA_PEMS_API_KEY)")]
    Unauthorized,
    /// The error envelope, which can come with any status.
    #[error("PEMS refused: {message}")]
    Refused {
        /// What it says.
        message: String,
        /// Whether no repetition can help.
        is_final: bool,
    },
    /// The answer is not what the protocol says.
    #[error("PEMS answered what cannot be read: {0}")]
    Malformed(String),
    /// The answer is larger than any that is expected.
    #[error("PEMS answered more than {0} bytes")]
    TooLarge(usize),
    /// PEMS failed so often that it is left alone for a while.
    #[error("PEMS failed too often and is left alone for a moment")]
    Resting,
    /// The change cannot be said in the words of PEMS.
    #[error("{0}")]
    Unsayable(String),
}

impl PemsError {
    /// The error of an envelope.
    #[must_use]
    pub fn refused(message: &str) -> Self {
        let lower = message.to_lowercase();
        let is_final = FINAL_MESSAGES.iter().any(|text| lower.contains(text));
        Self::Refused { message: shortened(message), is_final }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unauthorized | Self::TooLarge(_) | Self::Unsayable(_) => false,
            Self::Refused { is_final, .. } => !is_final,
            _ => true,
        }
    }

    /// Whether it speaks against PEMS as a whole, not against one request.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Cut(_) | Self::TimedOut(_) | Self::Failed { .. } | Self::Malformed(_))
    }

    /// When PEMS wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } => *retry_after,
            _ => None,
        }
    }
}

/// Text of PEMS for a message: one line, at most 300 characters.
pub(super) fn shortened(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_words_of_pems_are_final_and_everything_else_passes() {
        for (message, is_final) in [
            ("Record not found.", true),
            ("User X: Authorization failed", true),
            ("ABC is not a valid value for Source.", true),
            ("The record is locked by another user", false),
            ("", false),
        ] {
            assert_eq!(PemsError::refused(message).is_passing(), !is_final, "{message}");
        }
        assert!(!PemsError::Unauthorized.is_passing() && PemsError::Resting.is_passing());
    }
}
