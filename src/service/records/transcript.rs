//! Lines of an export in one piece, in the order in which they went out.
//!
//! The same export comes in nearly the same order again. To look up each of its lines by the record's id was a fifth of what an
//! export of some fields took, nearly all of it waiting for memory that lies anywhere; here the next line lies behind the last one.
//! A line is of its version, as remembered texts are: what a transcript does not have is looked up there.

use super::texts::Origin;
use std::sync::Arc;
use uuid::Uuid;

/// A record is looked for among so many lines that come next: those between are not exported any more, or not to this reader.
const REACH: usize = 64;
/// Among twice as many after each that was not there, up to so many: in a sandbox, thousands of neighbours may have drafts.
const LONGEST_REACH: usize = 4_096;
/// After so many one after the other that were not there, nothing more is looked for.
const MOST_ASTRAY: usize = 32;
/// A transcript that lacks more than this part of the rows is written anew.
const MOST_MISSED: usize = 16;

/// The lines.
#[derive(Debug)]
pub(super) struct Transcript {
    origin: Origin,
    lines: Vec<Line>,
    text: String,
}

#[derive(Debug)]
struct Line {
    id: Uuid,
    version: i64,
    /// Where it ends in the text; it begins where the one before has ended.
    end: usize,
}

impl Transcript {
    /// Without a line yet.
    pub fn new(origin: Origin) -> Self {
        Self { origin, lines: Vec::new(), text: String::new() }
    }

    /// What it takes in memory when it is finished; up to twice as much until then.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.lines.len() * size_of::<Line>()
    }

    /// Adds the line of a record.
    pub fn push(&mut self, id: Uuid, version: i64, line: &str) {
        self.text.push_str(line);
        self.lines.push(Line { id, version, end: self.text.len() });
    }

    /// With all its lines, and no room for more.
    #[must_use]
    pub fn finished(mut self) -> Self {
        self.text.shrink_to_fit();
        self.lines.shrink_to_fit();
        self
    }

    fn line(&self, place: usize) -> &str {
        let begin = place.checked_sub(1).map_or(0, |before| self.lines[before].end);
        &self.text[begin..self.lines[place].end]
    }
}

/// How an export goes.
#[derive(Debug)]
pub(super) enum Passage {
    /// Along a transcript.
    Follow(Follower),
    /// Without one, and writes it.
    Write(Transcript),
}

/// An export that goes along a transcript.
#[derive(Debug)]
pub(super) struct Follower {
    transcript: Arc<Transcript>,
    next: usize,
    reach: usize,
    /// How many were not there since the last one that was.
    astray: usize,
    found: usize,
    missed: usize,
}

impl Follower {
    /// At the beginning of a transcript of these texts; one of others is none.
    pub fn of(transcript: Arc<Transcript>, origin: Origin) -> Option<Self> {
        (transcript.origin == origin).then_some(Self { transcript, next: 0, reach: REACH, astray: 0, found: 0, missed: 0 })
    }

    /// The line of the record that comes next, if it is there in this version.
    pub fn find(&mut self, id: Uuid, version: i64) -> Option<&str> {
        let mut ahead = self.transcript.lines[self.next..].iter().take(self.reach);
        let place = ahead.position(|line| line.id == id).map(|skipped| self.next + skipped);
        if let Some(place) = place {
            (self.next, self.reach, self.astray) = (place + 1, REACH, 0);
        } else {
            self.astray += 1;
            self.reach = if self.astray < MOST_ASTRAY { LONGEST_REACH.min(2 * self.reach) } else { 0 };
        }
        let same = place.filter(|place| self.transcript.lines[*place].version == version);
        *if same.is_some() { &mut self.found } else { &mut self.missed } += 1;
        same.map(|place| self.transcript.line(place))
    }

    /// Whether so much was missing that another one is worth writing.
    pub fn is_outdated(&self) -> bool {
        self.missed > (self.found + self.missed) / MOST_MISSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    fn origin(name: &str) -> Origin {
        Origin::new("HOLNG", name)
    }

    fn transcript_of(ids: impl IntoIterator<Item = u128>) -> Arc<Transcript> {
        let mut transcript = Transcript::new(origin("1"));
        for id in ids {
            transcript.push(Uuid::from_u128(id), 1, &format!("line {id}"));
        }
        Arc::new(transcript)
    }

    /// Which of the rows, with their versions, an export finds, and whether it wants another transcript.
    fn follow(transcript: &Arc<Transcript>, rows: impl IntoIterator<Item = (u128, i64)>) -> (Vec<u128>, bool) {
        let mut follower = Follower::of(Arc::clone(transcript), origin("1")).unwrap();
        let mut found = Vec::new();
        for (id, version) in rows {
            if let Some(line) = follower.find(Uuid::from_u128(id), version) {
                assert_eq!(line, format!("line {id}"));
                found.push(id);
            }
        }
        (found, follower.is_outdated())
    }

    #[test]
    fn lines_are_found_in_their_order_and_in_their_version_only() {
        let transcript = transcript_of(0..100);
        assert_eq!(follow(&transcript, (0..100).map(|id| (id, 1))), ((0..100).collect(), false));
        // One has moved to the front, one is not there any more, one is new, one has changed.
        assert_eq!(follow(&transcript, [(99, 1), (0, 1), (2, 1), (1_000, 1), (3, 2), (4, 1)]), (vec![0, 2, 4], true));
        let rows = (0..90).filter(|id| id % 7 != 1).map(|id| (id, if id == 3 { 2 } else { 1 })).chain([(1_000, 1)]);
        let expected = (0..90).filter(|id| id % 7 != 1 && *id != 3).collect();
        assert_eq!(follow(&transcript, rows), (expected, false));
    }

    #[test]
    fn an_export_finds_its_place_again_behind_many_lines_that_are_left_out() {
        let transcript = transcript_of(0..10_000);
        let left_out = |gone: Range<u128>| (0..10_000).filter(move |id| !gone.contains(id));
        // Some rows later: it looks further for each.
        for (gone, lost) in [(100..164, 1), (100..300, 2), (100..3_000, 6)] {
            let found = left_out(gone.start..gone.end + lost).collect();
            assert_eq!(follow(&transcript, left_out(gone).map(|id| (id, 1))), (found, false));
        }
    }

    #[test]
    fn an_export_that_lost_its_place_wants_another_transcript() {
        let transcript = transcript_of(0..10_000);
        let behind_new_ones = |number: u128| (20_000..20_000 + number).chain(0..10_000).map(|id| (id, 1));
        assert_eq!(follow(&transcript, behind_new_ones(31)), ((0..10_000).collect(), false));
        assert_eq!(follow(&transcript, behind_new_ones(32)), (vec![], true));
        let (found, is_outdated) = follow(&transcript, (0..100).chain(5_000..10_000).map(|id| (id, 1)));
        assert_eq!((found.len(), is_outdated), (100, true));
        assert_eq!(follow(&transcript_of([]), [(1, 1)]), (vec![], true));
        assert_eq!(follow(&transcript_of([]), []), (vec![], false));
    }

    #[test]
    fn a_transcript_is_of_its_origin() {
        assert!(Follower::of(transcript_of(0..3), origin("2")).is_none());
    }
}
