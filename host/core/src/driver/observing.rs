//! The foreign slices that one driver observes: which have changed since it was told, and what it was told.
//!
//! A change is a mark and no value: the value is read when the driver is told, so that a slice that changes ten thousand times a second costs twenty
//! copies of it, and what is told is the newest there is. Marks and what was told stay over restarts, swaps and returns, as bytes do in the ring.

use std::sync::Arc;

use super::Event;

/// Slices that a driver may observe. A manifest that lists more is refused; past this bound a name is not observed.
pub const OBSERVED_SLICES: usize = 64;

/// At most 20 values of a slice, and 20 settings, reach the driver in a second; newer ones take the place of what waits.
pub(super) const SPACING_NS: u64 = 50_000_000;

/// The slices that one driver observes, in the order of its manifest.
#[derive(Debug, Default)]
pub(super) struct Observing {
    slices: Vec<Observed>,
}

/// What a driver that goes on knows of the slices that it observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// What its predecessor was told.
    AsTold,
    /// Nothing: it starts.
    Nothing,
    /// What it was told before its predecessor, so it is told all of it once more.
    OfBefore,
}

#[derive(Debug)]
struct Observed {
    slice: Arc<str>,
    /// What the driver was told last. None: that it is gone, or, from its cold start on, nothing, which is the same to it.
    told: Option<Arc<str>>,
    /// What it knows of the slice is of a time when nobody told it: it is told how it is, whatever it was told then.
    is_unsure: bool,
    /// It may have changed since.
    has_changed: bool,
    not_before_ns: u64,
}

impl Observing {
    /// The driver that runs from now on observes these, and knows so much of what its predecessor was told of them; of the others it is told.
    pub(super) fn go_on_with(&mut self, slices: &[Arc<str>], known: Known) {
        let mut before = std::mem::take(&mut self.slices);
        for slice in slices.iter().take(OBSERVED_SLICES) {
            let place = before.iter().position(|observed| observed.slice == *slice);
            let mut observed = match place {
                Some(index) => before.swap_remove(index),
                None => Observed {
                    slice: Arc::clone(slice),
                    told: None,
                    is_unsure: true,
                    has_changed: true,
                    not_before_ns: 0,
                },
            };
            match known {
                Known::AsTold => {}
                Known::Nothing => {
                    observed.told = None;
                    observed.is_unsure = false;
                    observed.has_changed = true;
                }
                Known::OfBefore => {
                    observed.is_unsure = true;
                    observed.has_changed = true;
                }
            }
            self.slices.push(observed);
        }
    }

    /// A slice has changed. Answers whether that is news to whoever waits for something to do.
    pub(super) fn changed(&mut self, slice: &str) -> bool {
        let observed = self.slices.iter_mut().find(|observed| *observed.slice == *slice);
        observed.is_some_and(|observed| !std::mem::replace(&mut observed.has_changed, true))
    }

    /// A slice of which the driver is to be told now, if [there is something to tell](Self::tell). Its value has to be read after this: what changes
    /// later is marked anew.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<Arc<str>> {
        let due = |observed: &&mut Observed| observed.has_changed && observed.not_before_ns <= now_ns;
        let observed = self.slices.iter_mut().find(due)?;
        observed.has_changed = false;
        Some(Arc::clone(&observed.slice))
    }

    /// The event that tells the driver of a value, if it is another than the one it was told.
    pub(super) fn tell(
        &mut self,
        slice: &Arc<str>,
        value: Option<Arc<str>>,
        now_ns: u64,
    ) -> Option<Event<'static>> {
        let observed = self.slices.iter_mut().find(|observed| observed.slice == *slice)?;
        if observed.told == value && !std::mem::take(&mut observed.is_unsure) {
            return None;
        }
        observed.is_unsure = false;
        observed.told.clone_from(&value);
        observed.not_before_ns = now_ns.saturating_add(SPACING_NS);
        Some(Event::Observed {
            slice: Arc::clone(slice),
            value,
        })
    }

    /// When [`take_due`](Self::take_due) has something although nothing changes.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let waiting = self.slices.iter().filter(|observed| observed.has_changed);
        waiting.map(|observed| observed.not_before_ns).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn text(value: u64) -> Option<Arc<str>> {
        (value > 0).then(|| value.to_string().into())
    }

    #[test]
    fn more_slices_than_the_bound_are_not_observed() {
        let many: Vec<Arc<str>> = (0..100).map(|number| format!("s{number}").into()).collect();
        let mut observing = Observing::default();
        observing.go_on_with(&many, Known::Nothing);
        let told: Vec<_> = std::iter::from_fn(|| observing.take_due(0)).collect();
        assert_eq!(told, many[..OBSERVED_SLICES]);
        assert!(!observing.changed("s99"));
    }

    #[test]
    fn only_what_its_predecessor_was_not_told_comes_to_a_successor() {
        let mut observing = Observing::default();
        observing.go_on_with(&names(&["a", "b"]), Known::Nothing);
        for value in [1, 2] {
            let slice = observing.take_due(0).unwrap();
            assert!(observing.tell(&slice, text(value), 0).is_some());
        }
        observing.go_on_with(&names(&["b", "c"]), Known::AsTold);
        assert_eq!(observing.take_due(0).as_deref(), Some("c"));
        assert_eq!(
            observing.take_due(u64::MAX),
            None,
            "b was told to its predecessor"
        );
        // The one that returns was not told of what its successor did not observe.
        observing.go_on_with(&names(&["a", "b"]), Known::AsTold);
        assert_eq!(observing.take_due(0).as_deref(), Some("a"));
        assert_eq!(observing.take_due(u64::MAX), None);
        // And one that knows nothing is told everything.
        observing.go_on_with(&names(&["a", "b"]), Known::Nothing);
        assert_eq!(observing.take_due(u64::MAX).as_deref(), Some("a"));
        assert_eq!(observing.take_due(u64::MAX).as_deref(), Some("b"));
        // One that was away is told what has gone meanwhile, and what is as it was.
        for value in [1, 0] {
            let slice = if value == 1 { "a".into() } else { "b".into() };
            observing.tell(&slice, text(value), 0);
        }
        observing.go_on_with(&names(&["a", "b"]), Known::OfBefore);
        for value in [1, 0] {
            let slice = observing.take_due(u64::MAX).unwrap();
            assert!(observing.tell(&slice, text(value), 0).is_some(), "{slice}");
        }
    }

    #[test]
    fn of_a_slice_that_is_not_there_nothing_is_told_until_it_is() {
        let mut observing = Observing::default();
        let slices = names(&["a"]);
        observing.go_on_with(&slices, Known::Nothing);
        let slice = observing.take_due(0).unwrap();
        assert_eq!(observing.tell(&slice, None, 0), None);
        assert!(observing.changed("a"));
        let slice = observing.take_due(0).unwrap();
        assert!(observing.tell(&slice, text(1), 0).is_some());
        assert!(observing.changed("a"));
        let slice = observing.take_due(SPACING_NS).unwrap();
        let gone = observing.tell(&slice, None, SPACING_NS).unwrap();
        assert!(matches!(gone, Event::Observed { value: None, .. }));
    }

    #[test]
    fn one_that_returns_is_told_of_what_went_away_while_nobody_told_it() {
        let mut observing = Observing::default();
        let slices = names(&["a"]);
        observing.go_on_with(&slices, Known::Nothing);
        let slice = observing.take_due(0).unwrap();
        assert!(observing.tell(&slice, text(1), 0).is_some());
        observing.go_on_with(&[], Known::AsTold);
        observing.go_on_with(&slices, Known::AsTold);
        let slice = observing.take_due(0).unwrap();
        let gone = observing.tell(&slice, None, 0);
        assert!(matches!(gone, Some(Event::Observed { value: None, .. })));
        assert!(observing.changed("a"));
        let slice = observing.take_due(SPACING_NS).unwrap();
        assert_eq!(observing.tell(&slice, None, SPACING_NS), None, "it knows");
    }

    #[derive(Debug, Clone)]
    enum Action {
        Change(usize, u64),
        PassMs(u64),
        Tell,
        /// A swap, a return, or a start from nothing: what the next driver observes, and what it knows.
        GoOn(Vec<usize>, Known),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (0..4usize, 0..3u64).prop_map(|(slice, value)| Action::Change(slice, value)),
            3 => (0..80u64).prop_map(Action::PassMs),
            3 => Just(Action::Tell),
            1 => (prop::sample::subsequence(vec![0, 1, 2, 3], 0..4), known())
                .prop_map(|(slices, known)| Action::GoOn(slices, known)),
        ]
    }

    fn known() -> impl Strategy<Value = Known> {
        prop::sample::select(vec![Known::AsTold, Known::Nothing, Known::OfBefore])
    }

    /// What a driver can know of a slice: nothing for sure, or what it was told.
    type Knows = Option<Option<u64>>;

    proptest! {
        /// What the driver knows is what it was told, over all its versions; in the end it knows what is so, was told nothing twice, and never more often than
        /// the spacing allows.
        #[test]
        fn a_driver_ends_up_knowing_what_is_so(actions in prop::collection::vec(action(), 0..200)) {
            let all = names(&["a", "b", "c", "d"]);
            let mut values = [0; 4];
            let mut observed: [Option<Knows>; 4] = [None; 4];
            let mut told_at: [Option<u64>; 4] = [None; 4];
            let (mut observing, mut now_ns) = (Observing::default(), 0);
            let end = [Action::PassMs(60), Action::Tell];
            for action in actions.into_iter().chain(end) {
                match action {
                    Action::Change(slice, value) => {
                        values[slice] = value;
                        observing.changed(&all[slice]);
                    }
                    Action::PassMs(ms) => now_ns += ms * 1_000_000,
                    Action::GoOn(slices, known) => {
                        for (slice, knows) in observed.iter_mut().enumerate() {
                            if !slices.contains(&slice) {
                                (*knows, told_at[slice]) = (None, None);
                                continue;
                            }
                            match known {
                                Known::Nothing => *knows = Some(Some(Some(0))),
                                Known::OfBefore => *knows = Some(None),
                                Known::AsTold => {
                                    knows.get_or_insert(None);
                                }
                            }
                        }
                        let slices: Vec<_> = slices.iter().map(|&slice| Arc::clone(&all[slice])).collect();
                        observing.go_on_with(&slices, known);
                    }
                    Action::Tell => {
                        while let Some(slice) = observing.take_due(now_ns) {
                            let index = all.iter().position(|name| *name == slice).unwrap();
                            let Some(Event::Observed { value, .. }) =
                                observing.tell(&slice, text(values[index]), now_ns) else { continue };
                            let value = Some(value.map_or(0, |value| value.parse().unwrap()));
                            let before = observed[index].expect("it observes the slice");
                            prop_assert!(before != Some(value), "told twice");
                            if let Some(before_ns) = told_at[index] {
                                prop_assert!(now_ns >= before_ns + SPACING_NS, "told too often");
                            }
                            (observed[index], told_at[index]) = (Some(Some(value)), Some(now_ns));
                        }
                    }
                }
            }
            for (known, value) in observed.iter().zip(values) {
                prop_assert!(known.is_none_or(|known| known == Some(Some(value))), "it knows {known:?}, and it is {value}");
            }
            prop_assert_eq!(observing.due_ns(), None);
        }
    }
}
