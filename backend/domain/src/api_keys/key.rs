//! The text of an API key: `tg_live_` or `tg_test_`, 43 random letters and digits, and a checksum of six over all that
//! is before it, so that a mistyped key is known as such without a look-up, and a scanner for leaked keys can be sure.

use sha2::{Digest as _, Sha256};
use tollgate_shared::{Rng, Secret};

const LIVE: &str = "tg_live_";
const TEST: &str = "tg_test_";
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random letters: 43 of 62 kinds are 256.03 bits.
const RANDOM_LETTERS: usize = 43;
/// Letters of the checksum: six of 62 kinds hold every CRC-32.
const CHECKSUM_LETTERS: usize = 6;
/// Letters that are shown of a key, besides its kind: enough to tell a customer's keys apart.
const SHOWN_LETTERS: usize = 4;

/// A whole API key. It is shown once; what is stored is its [`hash`](ApiKey::hash).
#[derive(Clone, Debug)]
pub struct ApiKey(Secret);

impl ApiKey {
    /// A new key; `live` says for which of Stripe's modes.
    pub fn generate(live: bool, rng: &Rng) -> Self {
        let mut key = String::from(if live { LIVE } else { TEST });
        let kind_letters = key.len();
        while key.len() < kind_letters + RANDOM_LETTERS {
            for byte in rng.bytes::<64>() {
                // 248 is four times 62: what is above would make some letters more likely than others.
                if byte < 248 && key.len() < kind_letters + RANDOM_LETTERS {
                    key.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
                }
            }
        }
        key.push_str(&checksum(&key));
        Self(Secret::new(key))
    }

    /// The key that `text` is, if it is a possible one; blanks around it are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let letters = text.strip_prefix(LIVE).or_else(|| text.strip_prefix(TEST))?;
        let is_whole = letters.len() == RANDOM_LETTERS + CHECKSUM_LETTERS
            && letters.bytes().all(|letter| letter.is_ascii_alphanumeric());
        let (checked, given) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LETTERS)?)?;
        (is_whole && checksum(checked) == given).then(|| Self(Secret::new(text)))
    }

    /// What stands for the key in the database: hex SHA-256. The key has enough random bits to need no salt.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.expose()))
    }

    /// What may be shown of the key: its kind and first letters, such as `tg_live_ab12…`.
    pub fn prefix(&self) -> String {
        format!("{}…", &self.expose()[..LIVE.len() + SHOWN_LETTERS])
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Whether a key that begins so is of Stripe's live mode.
pub fn is_live(prefix: &str) -> bool {
    prefix.starts_with(LIVE)
}

/// CRC-32 in six letters, the most significant first.
fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut letters = [0; CHECKSUM_LETTERS];
    for letter in letters.iter_mut().rev() {
        *letter = LETTERS[rest % LETTERS.len()];
        rest /= LETTERS.len();
    }
    letters.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assume, proptest};

    use super::*;

    /// The checksum was computed apart, in Python: `zlib.crc32` of the first 51 characters, in base 62.
    const KNOWN: &str = "tg_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0WlpAb";

    fn key(live: bool, seed: u64) -> ApiKey {
        ApiKey::generate(live, &Rng::seeded(seed))
    }

    #[test]
    fn a_new_key_says_its_mode_and_can_be_read_again() {
        for (live, kind) in [(true, "tg_live_"), (false, "tg_test_")] {
            let key = key(live, 1);
            assert!(key.expose().starts_with(kind) && key.expose().len() == 57);
            assert_eq!(ApiKey::parse(key.expose()).unwrap().hash(), key.hash());
        }
        assert_ne!(key(true, 1).expose(), key(true, 2).expose());
    }

    #[test]
    fn a_key_made_elsewhere_by_the_same_rules_is_recognised() {
        let key = ApiKey::parse(KNOWN).unwrap();
        assert_eq!(key.hash(), "e73e5dd40823d8e90f5d875261d9d8d37777ff5a275afcceb0118db4ceafbb6d");
        assert_eq!(key.prefix(), "tg_live_0123…");
    }

    #[test]
    fn what_is_shown_of_a_key_has_at_most_sixteen_characters() {
        assert_eq!(key(false, 1).prefix().chars().count(), 13);
    }

    #[test]
    fn blanks_around_a_key_are_no_part_of_it() {
        assert_eq!(ApiKey::parse(&format!(" {KNOWN}\n")).unwrap().expose(), KNOWN);
    }

    #[test]
    fn a_key_of_another_mode_or_length_or_alphabet_is_none() {
        let long = format!("{KNOWN}0");
        let not_ascii = KNOWN.replacen("01", "é", 1);
        for text in [
            "",
            "tg_live_",
            "sk_live_0",
            &KNOWN[..56],
            &long,
            &not_ascii,
            &KNOWN.replace("tg_live_", "tg_test_"),
            &KNOWN.replace("tg_live_", "TG_LIVE_"),
            &KNOWN.replace('0', "_"),
        ] {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn every_letter_is_as_likely_as_another() {
        let rng = Rng::seeded(7);
        let mut counts = [0_u32; 62];
        for _ in 0..2000 {
            for letter in &ApiKey::generate(true, &rng).expose().as_bytes()[8..51] {
                counts[LETTERS.iter().position(|known| known == letter).unwrap()] += 1;
            }
        }
        // 86,000 letters: 1,387 of each are expected, with a standard deviation of 37. Taking every byte modulo 62
        // would give the first eight letters 1,680.
        assert!(counts.iter().all(|count| (1200..1575).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert!(!format!("{:?}", key(true, 1)).contains(&key(true, 1).expose()[8..]));
    }

    proptest! {
        #[test]
        fn one_wrong_letter_is_noticed(seed: u64, index in 8..57_usize, letter in 0..62_usize) {
            let key = key(true, seed);
            let mut text = key.expose().as_bytes().to_vec();
            prop_assume!(text[index] != LETTERS[letter]);
            text[index] = LETTERS[letter];
            prop_assert!(ApiKey::parse(std::str::from_utf8(&text).unwrap()).is_none());
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = ApiKey::parse(&text);
            let _ = ApiKey::parse(&format!("tg_live_{text}"));
        }
    }
}
