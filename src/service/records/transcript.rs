//! Lines of an export in one piece: what the mirror has of a selection for everybody, in order, whatever overlays say of it.
//!
//! To ask the database for each row of an export and to look up each line was most of what an export of some fields took: 10 to 12.5 ms for
//! 19,000 records, and 5 to 7 without it. A transcript has all lines, each of its version, and the [`Sum`] of these versions, which the
//! database makes, mostly from an index: while it is the same nothing has changed, whoever might have changed it, and only the lines of
//! overlays are put between those of the transcript.

use super::texts::Origin;
use chrono::NaiveDate;
use std::iter::Peekable;
use std::ops::Range;
use std::vec::IntoIter;
use uuid::Uuid;

/// Which records in which versions: how many, and the exclusive or of a hash of each. Others have the same sum as rarely as two
/// random numbers of 64 bits are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub count: i64,
    pub hash: i64,
}

impl Sum {
    /// With one more record, in the version of which this is the hash.
    pub fn add(&mut self, hash: i64) {
        self.count += 1;
        self.hash ^= hash;
    }
}

/// Where a record stands in the default order: by its start, those without one last, then by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    is_undated: bool,
    date: Option<NaiveDate>,
    id: Uuid,
}

impl Place {
    pub fn new(date: Option<NaiveDate>, id: Uuid) -> Self {
        Self { is_undated: date.is_none(), date, id }
    }
}

/// A record of the mirror as a selection shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub id: Uuid,
    pub version: i64,
    pub date: Option<NaiveDate>,
}

/// The lines.
#[derive(Debug)]
pub(super) struct Transcript {
    origin: Origin,
    sum: Sum,
    lines: Vec<Line>,
    text: String,
    /// The lines in the order of their ids.
    by_id: Vec<usize>,
}

#[derive(Debug)]
struct Line {
    record: Record,
    /// Where it ends in the text; it begins where the one before has ended.
    end: usize,
}

/// What a line takes in memory beside its text.
pub(super) const LINE: usize = size_of::<Line>() + size_of::<usize>();

impl Transcript {
    /// Without a line yet.
    pub fn new(origin: Origin) -> Self {
        Self { origin, sum: Sum::default(), lines: Vec::new(), text: String::new(), by_id: Vec::new() }
    }

    /// Adds the line of the record that comes next.
    pub fn push(&mut self, record: Record, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines.push(Line { record, end: self.text.len() });
    }

    /// With all its lines, of which this is the sum, and no room for more.
    #[must_use]
    pub fn finished(mut self, sum: Sum) -> Self {
        self.sum = sum;
        self.text.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.by_id = (0..self.lines.len()).collect();
        self.by_id.sort_unstable_by_key(|place| self.lines[*place].record.id);
        self
    }

    /// What it takes in memory when it is finished; up to twice as much until then.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.lines.len() * LINE
    }

    /// Whether it is of these texts.
    pub fn is_of(&self, origin: Origin) -> bool {
        self.origin == origin
    }

    /// Of which records it is.
    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// Which line is of a record.
    pub fn find(&self, id: Uuid) -> Option<usize> {
        let place = self.by_id.binary_search_by_key(&id, |place| self.lines[*place].record.id);
        place.ok().map(|place| self.by_id[place])
    }

    fn text(&self, lines: Range<usize>) -> &str {
        let [begin, end] = [lines.start, lines.end].map(|place| place.checked_sub(1).map_or(0, |before| self.lines[before].end));
        &self.text[begin..end]
    }
}

/// Goes through the lines of the records that there are now: most come in nearly the same order again.
#[derive(Debug)]
pub(super) struct Follower<'t> {
    transcript: &'t Transcript,
    next: usize,
}

impl<'t> Follower<'t> {
    /// At the first line.
    pub fn new(transcript: &'t Transcript) -> Self {
        Self { transcript, next: 0 }
    }

    /// The line of a record, if it is there in this version.
    pub fn find(&mut self, record: &Record) -> Option<&'t str> {
        let is_next = self.transcript.lines.get(self.next).is_some_and(|line| line.record.id == record.id);
        let place = if is_next { self.next } else { self.transcript.find(record.id)? };
        self.next = place + 1;
        let is_same = self.transcript.lines[place].record.version == record.version;
        is_same.then(|| self.transcript.text(place..place + 1).trim_end_matches('\n'))
    }
}

/// A way through all lines but those for which an overlay stands.
#[derive(Debug)]
pub(super) struct Passage<'t> {
    transcript: &'t Transcript,
    hidden: Peekable<IntoIter<usize>>,
    next: usize,
    /// How many lines it has altogether.
    pub rows: usize,
}

impl<'t> Passage<'t> {
    /// Leaves out these lines.
    pub fn without(transcript: &'t Transcript, mut hidden: Vec<usize>) -> Self {
        hidden.sort_unstable();
        hidden.dedup();
        let rows = transcript.lines.len() - hidden.len();
        Self { transcript, hidden: hidden.into_iter().peekable(), next: 0, rows }
    }

    /// The next lines, up to a place or to the end: in pieces, from between those that are left out.
    pub fn up_to(&mut self, place: Option<Place>) -> Vec<&'t str> {
        let behind = &self.transcript.lines[self.next..];
        let is_before = |line: &Line| place.is_none_or(|place| Place::new(line.record.date, line.record.id) < place);
        let end = self.next + behind.partition_point(is_before);
        let mut pieces = Vec::new();
        while let Some(hidden) = self.hidden.next_if(|hidden| *hidden < end) {
            pieces.push(self.transcript.text(self.next..hidden));
            self.next = hidden + 1;
        }
        pieces.push(self.transcript.text(self.next..end));
        self.next = end;
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::new("HOLNG", "1")
    }

    fn day(day: u64) -> Option<NaiveDate> {
        NaiveDate::from_num_days_from_ce_opt(i32::try_from(700_000 + day).unwrap())
    }

    fn record(id: u128, version: i64, date: Option<NaiveDate>) -> Record {
        Record { id: Uuid::from_u128(id), version, date }
    }

    /// Ten records, the later the smaller, two a day, and the last two without a day.
    fn transcript() -> Transcript {
        let dates = [day(0), day(0), day(1), day(1), day(2), day(2), day(3), day(3), None, None];
        let ids = [8, 9, 6, 7, 4, 5, 2, 3, 0, 1];
        let lines = ids.map(|id| id.to_string());
        let records = ids.into_iter().zip(dates).map(|(id, date)| record(id, 1, date));
        let mut transcript = Transcript::new(origin());
        records.zip(lines).for_each(|(record, line)| transcript.push(record, &line));
        transcript.finished(Sum { count: 10, hash: 0 })
    }

    #[test]
    fn a_line_is_found_wherever_it_stands_and_in_its_version_only() {
        let transcript = transcript();
        let mut follower = Follower::new(&transcript);
        let found = [(8, 1), (9, 2), (6, 1), (3, 1), (0, 1), (7, 1), (10, 1), (4, 1), (1, 1), (1, 1)]
            .map(|(id, version)| follower.find(&record(id, version, None)));
        let expected = ["8", "", "6", "3", "0", "7", "", "4", "1", "1"].map(|line| Some(line).filter(|line| !line.is_empty()));
        assert_eq!(found, expected);
        assert_eq!(Follower::new(&Transcript::new(origin())).find(&record(8, 1, None)), None);
    }

    #[test]
    fn a_passage_stops_at_places_and_leaves_lines_out() {
        let transcript = transcript();
        let hidden: Vec<_> = [9, 1, 2, 77, 2].into_iter().filter_map(|id| transcript.find(Uuid::from_u128(id))).collect();
        assert_eq!(hidden, [1, 9, 6, 6]);
        let mut passage = Passage::without(&transcript, hidden.clone());
        assert_eq!(passage.rows, 7);
        let mut up_to = |date, id| passage.up_to(Some(Place::new(date, Uuid::from_u128(id)))).concat();
        let pieces = [
            up_to(day(0), 0),
            up_to(day(0), 9),
            up_to(day(1), 7),
            up_to(day(1), 7),
            up_to(day(3), 3),
            up_to(day(9), 0),
            up_to(None, 0),
            up_to(None, 1),
        ];
        assert_eq!(pieces, ["", "8\n", "6\n", "", "7\n4\n5\n", "3\n", "", "0\n"]);
        assert_eq!(passage.up_to(None).concat(), "");
        assert_eq!(Passage::without(&transcript, hidden).up_to(None).concat(), "8\n6\n7\n4\n5\n3\n0\n");
        assert_eq!(Passage::without(&transcript, Vec::new()).up_to(None), ["8\n9\n6\n7\n4\n5\n2\n3\n0\n1\n"]);
    }

    #[test]
    fn a_transcript_is_of_its_origin() {
        assert!(transcript().is_of(origin()) && !transcript().is_of(Origin::new("HOLNG", "2")));
    }
}
