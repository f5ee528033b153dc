//! The record dictionary: every key of a PFA record, its column in the database and its kind.
//! A closed list, so that whatever names a field after parsing is known to exist.

use std::fmt;

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text of at most so many characters.
    Text(usize),
    /// One of a few words.
    Word(&'static [&'static str]),
    /// True or false; never null in a readable record.
    Flag,
    /// US dollars with at most four decimals.
    Amount,
    /// A calendar date.
    Date,
}

macro_rules! dictionary {
    ($( $variant:ident $key:literal $column:literal $kind:expr; )+) => {
        /// A key of a PFA record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $( #[doc = concat!("`", $key, "`")] $variant, )+
        }

        impl Field {
            /// Every field, in the order of the dictionary.
            pub const ALL: &'static [Field] = &[ $( Field::$variant, )+ ];

            /// The key in records and parameters, for example `forecastStart`.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $( Field::$variant => $key, )+ }
            }

            /// The generated column in `pfa_mirror` and `pfa_overlay`.
            #[must_use]
            pub const fn column(self) -> &'static str {
                match self { $( Field::$variant => $column, )+ }
            }

            /// What its values are.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $( Field::$variant => $kind, )+ }
            }
        }
    };
}

// The longest texts stay below what a B-tree entry can hold (2,704 bytes), also three of 200 characters together.
dictionary! {
    PfaId               "pfaId"               "pfa_id"                Kind::Text(100);
    AreaSilo            "areaSilo"            "area_silo"             Kind::Text(200);
    Category            "category"            "category"              Kind::Text(200);
    Class               "class"               "class"                 Kind::Text(200);
    Source              "source"              "source"                Kind::Word(&["Rental", "Purchase"]);
    Dor                 "dor"                 "dor"                   Kind::Word(&["PROJECT", "BEO"]);
    IsActualized        "isActualized"        "is_actualized"         Kind::Flag;
    IsDiscontinued      "isDiscontinued"      "is_discontinued"       Kind::Flag;
    IsFundsTransferable "isFundsTransferable" "is_funds_transferable" Kind::Flag;
    MonthlyRate         "monthlyRate"         "monthly_rate"          Kind::Amount;
    PurchasePrice       "purchasePrice"       "purchase_price"        Kind::Amount;
    Manufacturer        "manufacturer"        "manufacturer"          Kind::Text(200);
    Model               "model"               "model"                 Kind::Text(200);
    OriginalStart       "originalStart"       "original_start"        Kind::Date;
    OriginalEnd         "originalEnd"         "original_end"          Kind::Date;
    ForecastStart       "forecastStart"       "forecast_start"        Kind::Date;
    ForecastEnd         "forecastEnd"         "forecast_end"          Kind::Date;
    ActualStart         "actualStart"         "actual_start"          Kind::Date;
    ActualEnd           "actualEnd"           "actual_end"            Kind::Date;
    HasPlan             "hasPlan"             "has_plan"              Kind::Flag;
    HasActuals          "hasActuals"          "has_actuals"           Kind::Flag;
    Contract            "contract"            "contract"              Kind::Text(500);
    Equipment           "equipment"           "equipment"             Kind::Text(500);
}

impl Field {
    /// The field of a key, or nothing for an unknown one.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.key() == key)
    }

    /// All keys, for messages about unknown ones.
    #[must_use]
    pub fn keys() -> Vec<&'static str> {
        Self::ALL.iter().map(|field| field.key()).collect()
    }

    /// Whether it is a part of the text that is searched, and one with many values.
    #[must_use]
    pub const fn is_searched(self) -> bool {
        matches!(self, Self::PfaId | Self::Manufacturer | Self::Model | Self::Equipment | Self::Contract)
    }

    /// Whether it is a text that an index of the mirror begins with, behind the organization.
    #[must_use]
    pub const fn leads_an_index(self) -> bool {
        matches!(self, Self::PfaId | Self::AreaSilo | Self::Category | Self::Class | Self::Manufacturer)
    }

    /// Whether its column can be null. Flags never are (missing counts as false), nor is the id.
    #[must_use]
    pub const fn is_nullable(self) -> bool {
        !matches!(self.kind(), Kind::Flag) && !matches!(self, Self::PfaId)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.key())
    }
}
