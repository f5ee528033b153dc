//! Which text of a record is meant: the mirror's in a version, or an overlay's with its `_meta` in a revision.

use crate::domain::row::Meta;
use uuid::Uuid;

/// Which text of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TextOf {
    /// The record.
    pub id: Uuid,
    stamp: Stamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stamp {
    /// The mirror's in a version.
    Version(i64),
    /// That of an overlay's row, of which no two have the same.
    Revision(i64),
}

impl TextOf {
    /// As an overlay has a record in a revision, or the mirror in a version.
    pub fn new(is_overlaid: bool, id: Uuid, number: i64) -> Self {
        let stamp = if is_overlaid { Stamp::Revision(number) } else { Stamp::Version(number) };
        Self { id, stamp }
    }

    /// As the mirror has it.
    pub fn mirrored(record: &Meta<'_>) -> Self {
        Self::new(false, record.id, record.version)
    }

    /// Whether it is an overlay's.
    pub fn is_overlaid(self) -> bool {
        matches!(self.stamp, Stamp::Revision(_))
    }
}
