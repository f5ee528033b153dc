//! Holding the mirror against what was read: number and content of the records, in the transaction of
//! the applies. Nobody else can have changed the mirror by then, and a load that did not arrive as it
//! was read can still be given up.

use super::{Applied, Batch, Load};
use crate::domain::json::object_digest;
use crate::domain::record::Record;
use crate::error::Result;
use futures_util::TryStreamExt as _;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// So many differences are kept; the count tells of the rest.
const KEPT_DIFFERENCES: usize = 100;

/// What the records of one organization were when they were read: 24 bytes a record.
#[derive(Debug, Default)]
pub struct Expected {
    digest_by_id: HashMap<[u8; 16], u64>,
}

impl Expected {
    /// Notes a record, unless one of the same id was noted before; whether it was new.
    pub fn note(&mut self, record: &Record) -> bool {
        let id = hash_of(&record.pfa_id);
        // The digest costs more than the look.
        let is_new = !self.digest_by_id.contains_key(&id);
        if is_new {
            self.digest_by_id.insert(id, object_digest(&record.data));
        }
        is_new
    }

    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.digest_by_id.len() as u64
    }
}

fn hash_of(pfa_id: &str) -> [u8; 16] {
    xxh3_128(pfa_id.as_bytes()).to_le_bytes()
}

/// What came of holding the mirror against what was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Records that are in the mirror as they were read.
    pub same: u64,
    /// Records that are not; the first hundred.
    pub differences: Vec<Difference>,
    /// How many there are in all.
    pub different: u64,
}

/// A record that is not in the mirror as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Missing {
        /// The record.
        pfa_id: String,
    },
    /// It is there with other values.
    Changed {
        /// The record.
        pfa_id: String,
        /// Keys that have other values.
        fields: Vec<String>,
    },
    /// So many records got lost before they reached the database, which therefore cannot name them.
    Lost(u64),
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { pfa_id } => write!(formatter, "record {pfa_id} is not in the mirror"),
            Self::Changed { pfa_id, fields } if fields.is_empty() => write!(formatter, "record {pfa_id} is not as it was read"),
            Self::Changed { pfa_id, fields } => write!(formatter, "record {pfa_id} is not as it was read: {}", fields.join(", ")),
            Self::Lost(count) => write!(formatter, "{count} records did not reach the database"),
        }
    }
}

impl Verification {
    fn add(&mut self, count: u64, difference: Difference) {
        self.different += count;
        if self.differences.len() < KEPT_DIFFERENCES {
            self.differences.push(difference);
        }
    }
}

impl Load {
    /// Applies what was staged, as [`Load::apply`] does, and then holds the mirror against what was read.
    /// The caller decides whether a load with differences is committed.
    ///
    /// # Errors
    /// As [`Load::apply`].
    pub async fn apply_and_verify(&mut self, batch: &Batch, expected: &Expected) -> Result<(Applied, Verification)> {
        let applied = self.apply_staged(batch).await?;
        let verification = self.verify(&batch.organization, expected).await?;
        self.clear_staging().await?;
        Ok((applied, verification))
    }

    async fn verify(&mut self, organization: &str, expected: &Expected) -> Result<Verification> {
        let mut verification = Verification::default();
        let mut arrived = 0;
        let mut rows = sqlx::query_as::<_, ComparedRow>(COMPARE).bind(organization).fetch(self.connection());
        while let Some((pfa_id, data, fields)) = rows.try_next().await? {
            arrived += 1;
            let is_same = |data: &str| {
                serde_json::from_str::<Map<String, Value>>(data)
                    .is_ok_and(|data| expected.digest_by_id.get(&hash_of(&pfa_id)) == Some(&object_digest(&data)))
            };
            match data {
                Some(data) if is_same(&data) => verification.same += 1,
                Some(_) => verification.add(1, Difference::Changed { pfa_id, fields }),
                None => verification.add(1, Difference::Missing { pfa_id }),
            }
        }
        if arrived < expected.count() {
            let lost = expected.count() - arrived;
            verification.add(lost, Difference::Lost(lost));
        }
        Ok(verification)
    }
}

/// Id, data in the mirror, and the keys in which it is not what was staged.
type ComparedRow = (String, Option<String>, Vec<String>);

const COMPARE: &str = "
    select s.data->>'pfaId', m.data::text,
           case when m.data <> s.data then pfa_changed_keys(s.data, m.data) else '{}' end
      from pfa_staging s
      left join pfa_mirror m on m.organization_id = $1 and m.pfa_id = s.data->>'pfaId'";
