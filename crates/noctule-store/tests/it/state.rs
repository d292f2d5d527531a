//! What every engine of the state does: the same story for each, told by what opens it.

use std::collections::BTreeMap;

use noctule_store::{KEY_BYTES_MAX, State, StateBatch, StoreError};

/// What its keys mean, in these tests.
pub(crate) const CONTENT: u16 = 9;

/// Opens a state anew, always the same one, as what the number says.
pub(crate) type Open<'o> = dyn FnMut(u16) -> Result<Box<dyn State>, StoreError> + 'o;

pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A small generator of chance, so that a seed tells all.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

pub(crate) fn all(state: &dyn State, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
    state.scan(prefix, &mut visit).expect("it can be read");
    found
}

/// Changes some of a few keys, in a batch and in its model.
pub(crate) fn change(chance: &mut Chance, model: &mut Model) -> StateBatch {
    let mut batch = StateBatch::new();
    for _ in 0..chance.below(12) {
        let key = format!("{}/{}", chance.below(3), chance.below(20)).into_bytes();
        if chance.below(3) == 0 {
            model.remove(&key);
            batch.remove(key).expect("it is short");
        } else {
            let length = usize::try_from(chance.below(300)).expect("small");
            let value = vec![u8::try_from(chance.below(256)).expect("a byte"); length];
            model.insert(key.clone(), value.clone());
            batch.put(key, value).expect("it is short");
        }
    }
    batch
}

/// Everything that is asked of an engine that begins empty.
pub(crate) fn check(open: &mut Open<'_>) {
    order_and_prefixes(open);
    the_last_change_counts(open);
    chance_and_model(open);
    others_are_refused(open);
}

fn order_and_prefixes(open: &mut Open<'_>) {
    let keys = [&b""[..], b"\0", b"a", b"a\0", b"a\xFF", b"a\xFF\xFF", b"b", b"\xFF", b"\xFF\xFF"];
    let mut state = open(CONTENT).expect("it opens");
    assert_eq!(all(&*state, b""), []);
    state.apply(&StateBatch::new()).expect("nothing is no change");
    let mut batch = StateBatch::new();
    for key in keys.iter().rev() {
        batch.put(*key, [b"value of ", *key].concat()).expect("it is short");
    }
    let longest = vec![b'l'; KEY_BYTES_MAX];
    batch.put(longest.clone(), b"").expect("it is just short enough");
    let before = batch.clone();
    let too_long = vec![b'l'; KEY_BYTES_MAX + 1];
    for refused in [batch.put(too_long.clone(), b""), batch.remove(too_long)] {
        let error = refused.expect_err("it is too long");
        assert!(matches!(error, StoreError::TooLarge { length } if length == KEY_BYTES_MAX + 1));
    }
    assert_eq!((batch.len(), &batch), (keys.len() + 1, &before));
    state.apply(&batch).expect("there is room");
    for round in 0..2 {
        let under = |prefix: &[u8]| -> Vec<Vec<u8>> {
            all(&*state, prefix).into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(under(b"a"), keys[2..6], "round {round}");
        assert_eq!(under(b"a\xFF"), keys[4..6], "round {round}");
        assert_eq!(under(b"\xFF"), keys[7..], "round {round}");
        assert_eq!(under(b"c"), [b""; 0], "round {round}");
        assert_eq!(under(b"ll"), [&longest[..]], "round {round}");
        let mut expected: Vec<_> = keys.iter().map(|key| key.to_vec()).collect();
        expected.insert(7, longest.clone());
        assert_eq!(under(b""), expected, "round {round}");
        assert_eq!(state.get(b"a\0").expect("it is read"), Some(b"value of a\0".to_vec()));
        assert_eq!(state.get(&longest).expect("it is read"), Some(Vec::new()));
        assert_eq!(state.get(b"c").expect("it is read"), None);
        drop(state);
        state = open(CONTENT).expect("it opens");
    }
    batch.clear();
    assert!(batch.is_empty());
    for key in keys.into_iter().chain([&longest[..], b"never was"]) {
        batch.remove(key).expect("it is short");
    }
    state.apply(&batch).expect("there is room");
    assert_eq!(all(&*state, b""), []);
}

fn the_last_change_counts(open: &mut Open<'_>) {
    let mut state = open(CONTENT).expect("it opens");
    assert_eq!(all(&*state, b""), [], "what was removed has not come back");
    let mut batch = StateBatch::new();
    for value in [&b"first"[..], b"last"] {
        batch.put(b"twice", value).expect("it is short");
    }
    batch.put(b"put and removed", b"").expect("it is short");
    batch.remove(b"put and removed").expect("it is short");
    batch.remove(b"removed and put").expect("it is short");
    batch.put(b"removed and put", b"here").expect("it is short");
    state.apply(&batch).expect("there is room");
    for _ in 0..2 {
        let expected = [
            (b"removed and put".to_vec(), b"here".to_vec()),
            (b"twice".to_vec(), b"last".to_vec()),
        ];
        assert_eq!(all(&*state, b""), expected);
        drop(state);
        state = open(CONTENT).expect("it opens");
    }
    let mut batch = StateBatch::new();
    batch.remove(b"twice").expect("it is short");
    batch.remove(b"removed and put").expect("it is short");
    state.apply(&batch).expect("there is room");
}

fn chance_and_model(open: &mut Open<'_>) {
    for seed in 1..6 {
        let (mut chance, mut model) = (Chance(seed * 0x9E37_79B9), Model::new());
        let mut state = open(CONTENT).expect("it opens");
        for (key, _) in all(&*state, b"") {
            let mut batch = StateBatch::new();
            batch.remove(key).expect("it is short");
            state.apply(&batch).expect("there is room");
        }
        for _ in 0..40 {
            let batch = change(&mut chance, &mut model);
            state.apply(&batch).expect("there is room");
            if chance.below(6) == 0 {
                drop(state);
                state = open(CONTENT).expect("it opens");
            }
            let expected: Vec<_> = model.clone().into_iter().collect();
            assert_eq!(all(&*state, b""), expected, "seed {seed}");
            let part = expected.into_iter().filter(|(key, _)| key.starts_with(b"1/1"));
            assert_eq!(all(&*state, b"1/1"), part.collect::<Vec<_>>(), "seed {seed}");
            for (key, value) in &model {
                assert_eq!(state.get(key).expect("it is read").as_ref(), Some(value), "{seed}");
            }
        }
    }
}

fn others_are_refused(open: &mut Open<'_>) {
    let error = open(CONTENT + 1).expect_err("it is another one's");
    let told = matches!(
        error,
        StoreError::OtherContent { found: CONTENT, wanted, .. } if wanted == CONTENT + 1
    );
    assert!(told, "{error}");
    open(CONTENT).expect("and that changes nothing");
}
