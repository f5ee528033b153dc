//! Whose turn is next: the organization that has waited longest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// So many organizations have their turn side by side: each holds a connection.
const PLACES: usize = 4;
/// An organization whose turn brought nothing to an end lets others go first for so long.
const REST: Duration = Duration::from_secs(30);

/// The order of turns while there is something due.
#[derive(Debug, Default)]
pub(super) struct Rota {
    busy: BTreeSet<String>,
    resting_until: BTreeMap<String, Instant>,
    /// The number of each organization's last turn; who had none is before all others.
    last_turn: BTreeMap<String, u64>,
    turns: u64,
}

impl Rota {
    /// Those whose turn begins now, of the organizations that have something due.
    pub fn begin(&mut self, mut due: Vec<String>, now: Instant) -> Vec<String> {
        due.retain(|organization| {
            !self.busy.contains(organization) && self.resting_until.get(organization).is_none_or(|until| *until <= now)
        });
        due.sort_by_key(|organization| self.last_turn.get(organization).copied());
        due.truncate(PLACES - self.busy.len());
        for organization in &due {
            self.turns += 1;
            self.last_turn.insert(organization.clone(), self.turns);
            self.busy.insert(organization.clone());
        }
        due
    }

    /// A turn has ended; whether it brought anything to an end.
    pub fn end(&mut self, organization: String, has_moved: bool, now: Instant) {
        self.busy.remove(&organization);
        if has_moved {
            self.resting_until.remove(&organization);
        } else {
            self.resting_until.insert(organization, now + REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn who_has_waited_longest_is_next() {
        let (mut rota, now) = (Rota::default(), Instant::now());
        assert_eq!(rota.begin(codes("ABCDEF"), now), codes("ABCD"));
        assert!(rota.begin(codes("ABCDEF"), now).is_empty(), "every place is taken");
        rota.end("B".to_owned(), true, now);
        assert_eq!(rota.begin(codes("ABCDEF"), now), codes("E"), "B has had a turn, E none");
        rota.end("A".to_owned(), true, now);
        rota.end("E".to_owned(), true, now);
        assert_eq!(rota.begin(codes("ABCDEF"), now), codes("FA"), "F had none, and A's is longest ago");
    }

    #[test]
    fn everybody_with_a_backlog_has_a_turn_in_every_round() {
        let (mut rota, now) = (Rota::default(), Instant::now());
        let mut turns = Vec::new();
        while turns.len() < 60 {
            let begun = rota.begin(codes("ABCDEFGHIJ"), now);
            for organization in &begun {
                rota.end(organization.clone(), true, now);
            }
            turns.extend(begun);
        }
        for round in turns.chunks(10) {
            assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 10, "{turns:?}");
        }
    }

    #[test]
    fn who_gets_nowhere_rests_while_others_go_on_and_comes_again() {
        let (mut rota, now) = (Rota::default(), Instant::now());
        assert_eq!(rota.begin(codes("AB"), now), codes("AB"));
        rota.end("A".to_owned(), false, now);
        assert!(rota.begin(codes("AB"), now).is_empty());
        assert_eq!(rota.begin(codes("AB"), now + REST), codes("A"), "though B is still busy");
    }
}
