//! The dice of one record: small integer draws from a `ChaCha8` stream that belongs to it alone.
//!
//! Distributions are written here and not taken from `rand`, whose sampling may change between its
//! releases; the `ChaCha8` stream itself is a published standard. The multiply-shift below is biased by
//! less than 1 in 2^32 for the small ranges used, which sample data doesn't notice.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Marks the key as belonging to this generator; change it to change all data on purpose.
const KEY_TAG: [u8; 16] = *b"pfa-vanguard/001";

/// Points of an inverse distribution: (per mille of the draws that are lower, value), ascending,
/// first at 0 and last at 1000; linear in between. Integer stand-in for a curve like the log-normal,
/// because `exp` and `ln` differ between platforms in their last bits.
pub(super) type Quantiles = [(u32, u32)];

/// What all records of one organization share: the key of their streams.
#[derive(Clone)]
pub(super) struct Source {
    key: [u8; 32],
    hash: u64,
}

impl Source {
    pub(super) fn new(code: &str, seed: u64) -> Self {
        let hash = hash_text(code);
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&hash.to_le_bytes());
        key[16..].copy_from_slice(&KEY_TAG);
        Self { key, hash }
    }

    /// A number below `limit` that is fixed for the organization's code, whatever the seed.
    pub(super) fn fixed_below(&self, limit: u32) -> u32 {
        scale(u64::from(limit), self.hash)
    }

    /// The stream of one record: one stream number of the organization's key, so that any record
    /// can be drawn without the ones before it and no two streams overlap.
    pub(super) fn draws(&self, index: u64) -> Draws {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(index);
        Draws { rng }
    }
}

/// Draws for one record. The order of the calls is part of the generated data.
pub(super) struct Draws {
    rng: ChaCha8Rng,
}

impl Draws {
    /// Uniform in `0..limit`; 0 when `limit` is 0.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        scale(u64::from(limit), self.rng.next_u64())
    }

    /// Uniform in `low..=high`; needs `low <= high`.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True in `share` of 1000 cases.
    pub(super) fn chance(&mut self, share: u32) -> bool {
        self.below(1000) < share
    }

    /// One of `items`, all equally likely; `items` may not be empty.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.position(items.len())]
    }

    /// A position in a list of `len` (at least 1), all equally likely.
    pub(super) fn position(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }

    /// Position in a list of `len` (at least 1) where the n-th is drawn 1/n as often as the first.
    pub(super) fn zipf(&mut self, len: usize) -> usize {
        // Divisible by 1 to 16: the weights of the short lists used here are exact.
        let weight = |position: usize| 720_720 / (u32::try_from(position).unwrap_or(u32::MAX - 1) + 1);
        let mut rest = self.below((0..len).map(weight).sum());
        for position in 0..len {
            match rest.checked_sub(weight(position)) {
                Some(lower) => rest = lower,
                None => return position,
            }
        }
        0
    }

    /// A value of the distribution; `tilt` in per mille says how often the later of two draws wins:
    /// 500 leaves the distribution nearly as it is, more moves it up and less down.
    pub(super) fn tilted(&mut self, curve: &Quantiles, tilt: u32) -> u32 {
        let (one, other) = (self.below(1_000_000), self.below(1_000_000));
        let later = self.chance(tilt);
        value_at(curve, if later { one.max(other) } else { one.min(other) })
    }

    /// A value of the distribution.
    pub(super) fn quantile(&mut self, curve: &Quantiles) -> u32 {
        value_at(curve, self.below(1_000_000))
    }
}

/// `limit × random / 2^64`, rounded down.
fn scale(limit: u64, random: u64) -> u32 {
    // The upper half of `random` decides, so that the product fits; `limit` is a u32 everywhere.
    u32::try_from((limit * (random >> 32)) >> 32).unwrap_or(u32::MAX)
}

/// The curve's value at a position in millionths.
fn value_at(curve: &Quantiles, position: u32) -> u32 {
    let right = curve.partition_point(|(share, _)| share * 1000 <= position);
    match (right.checked_sub(1).and_then(|left| curve.get(left)), curve.get(right)) {
        (Some(&(from, low)), Some(&(to, high))) => {
            let along = u64::from(position - from * 1000) * u64::from(high - low);
            low + u32::try_from(along / (u64::from(to - from) * 1000)).unwrap_or(0)
        }
        (Some(&(_, value)), None) | (None, Some(&(_, value))) => value,
        (None, None) => 0,
    }
}

/// FNV-1a, 64 bits, with a final mix: fixed by its definition, unlike the standard library's hashers.
pub(super) fn hash_text(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mix(hash)
}

/// The finalizer of `splitmix64`: spreads near numbers over all 64 bits.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
