use std::env;

use fastrand::Rng;

/// Returns the number of random samples of each kind, and their random generator: always the same, unless
/// `FUZZ_TRIES` is set.
pub(crate) fn tries(usual: usize) -> (usize, Rng) {
    let (tries, seed) = match env::var("FUZZ_TRIES") {
        Ok(tries) => (tries.parse().expect("FUZZ_TRIES is a number"), fastrand::u64(..)),
        Err(_) => (usual, 1),
    };
    let seed = env::var("FUZZ_SEED").map_or(seed, |seed| seed.parse().expect("FUZZ_SEED is a number"));
    eprintln!("FUZZ_SEED={seed}");
    (tries, Rng::with_seed(seed))
}

/// Calls `each` with a text in which one byte is replaced, for every byte, and with every truncation of the
/// text.
pub(crate) fn every_byte(text: &[u8], mut each: impl FnMut(&[u8])) {
    for at in 0..text.len() {
        each(&text[..at]);
        for bits in [0x01, 0x02, 0x20, 0x80, 0xff] {
            let mut changed = text.to_vec();
            changed[at] ^= bits;
            each(&changed);
        }
        for byte in *b"\0\n\"\\{}[],:x" {
            let mut changed = text.to_vec();
            changed[at] = byte;
            each(&changed);
        }
    }
}

/// Makes some random changes to a text: replaced bytes, truncations, repetitions, and pieces of other texts.
pub(crate) fn change(rng: &mut Rng, text: &[u8], others: &[&[u8]]) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..rng.usize(1..=4) {
        if text.is_empty() {
            return text;
        }
        let at = rng.usize(..text.len());
        let to = rng.usize(at..text.len()).min(at + 64);
        match rng.u8(..6) {
            0 => text[at] = rng.u8(..),
            1 => text.truncate(at),
            2 => drop(text.drain(at..to)),
            3 => {
                let piece = text[at..to].to_vec();
                text.splice(at..at, piece);
            }
            4 => text[at] ^= 1 << rng.u8(..8),
            _ => {
                let other = others[rng.usize(..others.len())];
                let from = rng.usize(..other.len());
                let piece = other[from..].iter().take(64).copied();
                text.splice(at..to, piece);
            }
        }
    }
    text
}
