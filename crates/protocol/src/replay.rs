//! The anti-replay window of a session (after RFC 4303 §3.4.3).

/// Sequences that the window remembers below and including the highest one.
pub const WINDOW: u64 = 1024;

const WORDS: usize = 16;

/// Which sequences of a session are used up.
///
/// Sequences may come in any order and start anywhere. One that is above all others moves the window; one within 1023 of
/// the highest is accepted once; anything older is refused, used or not.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// `None` until the first sequence.
    highest: Option<u64>,
    /// Bit `sequence % WINDOW` is set when that sequence of the current window is used.
    used: [u64; WORDS],
}

impl ReplayWindow {
    /// A window in which every sequence is free.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the sequence would be refused: used before, or older than the window.
    pub fn contains(&self, sequence: u64) -> bool {
        match self.highest {
            None => false,
            Some(highest) if sequence > highest => false,
            Some(highest) => highest - sequence >= WINDOW || self.bit(sequence),
        }
    }

    /// Uses up the sequence. Returns `false`, and changes nothing, when [`Self::contains`] it.
    #[must_use = "a sequence that is refused must not be acted on"]
    pub fn insert(&mut self, sequence: u64) -> bool {
        if self.contains(sequence) {
            return false;
        }
        match self.highest {
            Some(highest) if sequence > highest => {
                self.forget(highest, sequence);
                self.highest = Some(sequence);
            }
            Some(_) => {}
            None => self.highest = Some(sequence),
        }
        let (word, mask) = position(sequence);
        if let Some(word) = self.used.get_mut(word) {
            *word |= mask;
        }
        true
    }

    /// Frees a sequence that was used up, where the window still has it: nothing came of it.
    pub fn remove(&mut self, sequence: u64) {
        let (word, mask) = position(sequence);
        let is_in_window =
            |highest: u64| highest.checked_sub(sequence).is_some_and(|it| it < WINDOW);
        if self.highest.is_some_and(is_in_window)
            && let Some(word) = self.used.get_mut(word)
        {
            *word &= !mask;
        }
    }

    /// Frees the bits of `(from, to]`, which enter the window in place of those that leave it.
    fn forget(&mut self, from: u64, to: u64) {
        if to - from >= WINDOW {
            self.used = [0; WORDS];
            return;
        }
        // `from` is below `to`, so adding one can not overflow.
        for sequence in from + 1..=to {
            let (word, mask) = position(sequence);
            if let Some(word) = self.used.get_mut(word) {
                *word &= !mask;
            }
        }
    }

    fn bit(&self, sequence: u64) -> bool {
        let (word, mask) = position(sequence);
        self.used.get(word).is_some_and(|word| word & mask != 0)
    }
}

/// Index of the word that holds a sequence's bit, and the bit.
fn position(sequence: u64) -> (usize, u64) {
    let slot = sequence % WINDOW;
    // Below 16, so the cast keeps the value.
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_any_first_sequence() {
        for first in [0, 1, 1023, 1024, u64::MAX - 1, u64::MAX] {
            assert!(ReplayWindow::new().insert(first));
        }
    }

    #[test]
    fn refuses_a_repeat() {
        let mut window = ReplayWindow::new();
        assert!(window.insert(7));
        assert!(!window.insert(7));
    }

    #[test]
    fn accepts_any_order_within_the_window() {
        let mut window = ReplayWindow::new();
        assert!(window.insert(2000));
        assert!(window.insert(2000 - 1023));
        assert!(window.insert(1500));
        assert!(!window.insert(2000 - 1023));
    }

    #[test]
    fn refuses_what_is_older_than_the_window() {
        let mut window = ReplayWindow::new();
        assert!(window.insert(2000));
        assert!(!window.insert(2000 - 1024));
    }

    #[test]
    fn the_highest_sequence_is_usable_once() {
        let mut window = ReplayWindow::new();
        assert!(window.insert(u64::MAX));
        assert!(!window.insert(u64::MAX));
        assert!(window.insert(u64::MAX - 1023));
        assert!(!window.insert(u64::MAX - 1024));
    }

    #[test]
    fn a_jump_forgets_the_old_window() {
        let mut window = ReplayWindow::new();
        assert!(window.insert(0));
        assert!(window.insert(1024));
        assert!(!window.insert(0));
        assert!(
            window.insert(1),
            "1 is the oldest sequence of the window and was not used"
        );
    }

    #[test]
    fn what_is_given_back_is_accepted_once_more_and_nothing_else_is() {
        let mut window = ReplayWindow::new();
        assert!(window.insert(5000));
        // These have the same bit, below the window and above it.
        window.remove(5000 - 1024);
        window.remove(5000 + 1024);
        assert!(window.contains(5000));
        window.remove(5000);
        assert!(window.insert(5000));
        assert!(!window.insert(5000));
        assert!(!window.insert(5000 - 1024));
    }

    /// The rule itself, with a set that never forgets.
    #[derive(Default)]
    struct Model {
        used: BTreeSet<u64>,
        highest: Option<u64>,
    }

    impl Model {
        fn is_too_old(&self, sequence: u64) -> bool {
            let highest = self.highest;
            highest.is_some_and(|highest| highest.saturating_sub(sequence) >= WINDOW)
        }

        fn insert(&mut self, sequence: u64) -> bool {
            let is_new = !self.is_too_old(sequence) && self.used.insert(sequence);
            self.highest = self.highest.max(is_new.then_some(sequence));
            is_new
        }

        fn remove(&mut self, sequence: u64) {
            if !self.is_too_old(sequence) {
                self.used.remove(&sequence);
            }
        }
    }

    fn sequences() -> impl Strategy<Value = Vec<u64>> {
        let near = |base: u64| (0..3000u64).prop_map(move |offset| base.saturating_add(offset));
        let one = prop_oneof![
            6 => near(0),
            3 => near(u64::MAX - 2999),
            1 => any::<u64>(),
        ];
        prop::collection::vec(one, 0..3000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_the_rule(sequences in sequences()) {
            let (mut window, mut model) = (ReplayWindow::new(), Model::default());
            for sequence in sequences {
                let contains = window.contains(sequence);
                let accepted = window.insert(sequence);
                prop_assert_eq!(contains, !accepted);
                prop_assert_eq!(accepted, model.insert(sequence), "sequence {}", sequence);
            }
        }

        #[test]
        fn agrees_with_the_rule_where_some_are_given_back(sequences in sequences(), every in 2..5_usize) {
            let (mut window, mut model) = (ReplayWindow::new(), Model::default());
            for (number, sequence) in sequences.into_iter().enumerate() {
                prop_assert_eq!(window.insert(sequence), model.insert(sequence), "sequence {}", sequence);
                if number % every == 0 {
                    window.remove(sequence);
                    model.remove(sequence);
                }
            }
        }

        #[test]
        fn agrees_with_the_rule_on_a_shuffled_run(start in 0..=u64::MAX - 4096, order in Just((0..2048u64).collect::<Vec<_>>()).prop_shuffle()) {
            let (mut window, mut model) = (ReplayWindow::new(), Model::default());
            for offset in order {
                prop_assert_eq!(window.insert(start + offset), model.insert(start + offset));
            }
        }
    }
}
