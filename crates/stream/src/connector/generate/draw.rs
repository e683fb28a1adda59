//! Random numbers that depend only on a key and a place, so that any row can be made without those before it.

/// The step of a Weyl sequence, 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit of `word` over all bits.
pub(super) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The random word at place `place` of the sequence that `key` names.
pub(super) const fn at(key: u64, place: u64) -> u64 {
    mix(key.wrapping_add(place.wrapping_mul(STEP)))
}

/// A whole number below `bound` (of all 64 bits where `bound` is 0).
pub(super) const fn below(word: u64, bound: u64) -> u64 {
    if bound == 0 { word } else { ((word as u128 * bound as u128) >> 64) as u64 }
}

/// A number in `0.0..1.0`.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub(super) const fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Random words, one after another.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(key: u64) -> Self {
        Self(key)
    }

    pub(super) const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A whole number in `low..=high`.
    pub(super) const fn whole(&mut self, low: i64, high: i64) -> i64 {
        let bound = high.wrapping_sub(low).cast_unsigned().wrapping_add(1);
        low.wrapping_add(below(self.word(), bound).cast_signed())
    }

    /// A number in `low..high`.
    pub(super) const fn real(&mut self, low: f64, high: f64) -> f64 {
        low + unit(self.word()) * (high - low)
    }

    /// Appends `length` random bytes.
    pub(super) fn fill(&mut self, length: usize, out: &mut Vec<u8>) {
        let mut block = [0; 64];
        let mut left = length;
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                word.copy_from_slice(&self.word().to_le_bytes());
            }
            let length = left.min(block.len());
            out.extend_from_slice(&block[..length]);
            left -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_the_same_for_ever() {
        // Stored positions rest on these: a seed gives the same rows in every version.
        assert_eq!((at(1, 0), at(1, 1)), (mix(1), 0x910a_2dec_8902_5cc1));
        assert_eq!(Draw::new(0).word(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn keeps_its_bounds() {
        let mut draw = Draw::new(7);
        let drawn: Vec<i64> = (0..2000).map(|_| draw.whole(-3, 3)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-3), Some(&3)));
        assert!((0..2000).map(|_| draw.real(0.5, 0.75)).all(|real| (0.5..0.75).contains(&real)));
        draw.whole(i64::MIN, i64::MAX);
        assert_eq!((below(u64::MAX, 10), below(0, 10)), (9, 0));
    }
}
