//! The status shown to people: derived from three flags, the first match wins.

/// Status of a record, in the order in which it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Cancelled.
    Discontinued,
    /// On site and billed.
    Actualized,
    /// Its budget may be given to another record.
    FundsTransferable,
    /// None of these: a plan and a forecast.
    Forecast,
}

impl Status {
    /// Every status, in the order in which it is decided.
    pub const ALL: [Self; 4] = [Self::Discontinued, Self::Actualized, Self::FundsTransferable, Self::Forecast];

    /// The word in parameters.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Discontinued => "discontinued",
            Self::Actualized => "actualized",
            Self::FundsTransferable => "fundsTransferable",
            Self::Forecast => "forecast",
        }
    }

    /// The status of a word, or nothing for an unknown one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}
