//! The text of a licence key: five groups of five letters that people can read to each other, the last of them a check
//! letter, so that a mistyped key is known as such without a look-up.

use std::fmt;

use tollgate_shared::Rng;
use zeroize::Zeroizing;

/// Thirty-two letters, five bits each, without those that look alike: 0 and O, 1 and I.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Random letters: 120 bits.
const RANDOM_LETTERS: usize = 24;
const GROUP_LETTERS: usize = 5;
/// How many characters are looked at: a key typed with a blank or a dash after each letter, and some to spare.
const TYPED_CHARACTERS_MAX: usize = 100;

/// A whole licence key, in its one form: upper case, with a dash between groups.
#[derive(Clone, PartialEq, Eq)]
pub struct LicenseKey(Zeroizing<String>);

impl LicenseKey {
    /// A new key.
    pub fn generate(rng: &Rng) -> Self {
        // 256 is a multiple of 32, so that each letter is as likely as another.
        let random = rng.bytes::<RANDOM_LETTERS>().map(|byte| byte % 32);
        let check = double(checksum(&random));
        Self::of(random.into_iter().chain([check]))
    }

    /// The key that a person typed as `text`, in either case and with any blanks and dashes, if it is a possible one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = [0; RANDOM_LETTERS + 1];
        let mut typed = 0;
        for (index, character) in text.chars().enumerate() {
            if index == TYPED_CHARACTERS_MAX {
                return None;
            }
            if character.is_whitespace() || is_dash(character) {
                continue;
            }
            let letter = u8::try_from(character).ok()?.to_ascii_uppercase();
            *numbers.get_mut(typed)? = LETTERS.iter().position(|known| *known == letter)? as u8;
            typed += 1;
        }
        (typed == numbers.len() && checksum(&numbers) == 0).then(|| Self::of(numbers))
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn of(numbers: impl IntoIterator<Item = u8>) -> Self {
        let mut key = Zeroizing::new(String::with_capacity(30));
        for (index, number) in numbers.into_iter().enumerate() {
            if index > 0 && index % GROUP_LETTERS == 0 {
                key.push('-');
            }
            key.push(char::from(LETTERS[usize::from(number)]));
        }
        Self(key)
    }
}

/// The dashes of keyboards and of what word processors make of them.
fn is_dash(character: char) -> bool {
    matches!(character, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The letters as digits of a number in the field of 32 elements, at its generator: zero for a whole key. Any one wrong
/// letter, and any two that changed places, give another value, because no two places have the same weight.
fn checksum(numbers: &[u8]) -> u8 {
    numbers.iter().fold(0, |sum, number| double(sum) ^ number)
}

/// Times the generator: polynomials over two elements, modulo x⁵ + x² + 1, which is primitive.
fn double(number: u8) -> u8 {
    let shifted = number << 1;
    if shifted & 0b10_0000 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

impl fmt::Display for LicenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LicenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LicenseKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assume, proptest};

    use super::*;

    /// The check letter was computed apart, in Python.
    const KNOWN: &str = "23456-789AB-CDEFG-HJKLM-NPQRH";

    fn key(seed: u64) -> LicenseKey {
        LicenseKey::generate(&Rng::seeded(seed))
    }

    #[test]
    fn a_new_key_is_five_groups_of_five_and_can_be_read_again() {
        let key = key(1);
        let groups: Vec<_> = key.expose().split('-').collect();
        assert!(groups.len() == 5 && groups.iter().all(|group| group.len() == 5), "{key}");
        assert_eq!(LicenseKey::parse(key.expose()).unwrap(), key);
        assert_ne!(key, self::key(2));
    }

    #[test]
    fn a_key_made_elsewhere_by_the_same_rules_is_recognised() {
        assert_eq!(LicenseKey::parse(KNOWN).unwrap().expose(), KNOWN);
    }

    #[test]
    fn a_key_may_be_typed_in_either_case_with_any_blanks_and_dashes() {
        let bare = KNOWN.replace('-', "");
        let spaced: String = bare.chars().flat_map(|letter| [letter, ' ']).collect();
        for typed in [
            bare.to_lowercase(),
            spaced,
            KNOWN.replace('-', " "),
            KNOWN.replace('-', "–"),
            KNOWN.replace('-', " \u{2011} "),
            format!("\t{}\n", KNOWN.to_lowercase()),
        ] {
            assert_eq!(LicenseKey::parse(&typed).unwrap().expose(), KNOWN, "{typed:?}");
        }
    }

    #[test]
    fn what_lacks_a_letter_or_has_one_too_many_or_a_strange_one_is_no_key() {
        let longer = format!("{KNOWN}2");
        let endless = format!("{KNOWN}{}", " ".repeat(1 << 20));
        for typed in
            ["", "-----", &KNOWN[1..], &longer, &endless, &KNOWN.replace('2', "0"), &KNOWN.replace('2', "é"), "🔑"]
        {
            assert!(LicenseKey::parse(typed).is_none(), "{typed:.40}");
        }
    }

    #[test]
    fn doubling_reaches_every_element_but_zero() {
        let mut reached: Vec<_> = std::iter::successors(Some(1), |number| Some(double(*number))).take(31).collect();
        reached.sort_unstable();
        assert_eq!(reached, (1..32).collect::<Vec<_>>());
    }

    #[test]
    fn every_letter_is_as_likely_as_another() {
        let rng = Rng::seeded(7);
        let mut counts = [0_u32; 32];
        for _ in 0..2000 {
            for letter in LicenseKey::generate(&rng).expose().bytes().filter(|letter| *letter != b'-') {
                counts[LETTERS.iter().position(|known| *known == letter).unwrap()] += 1;
            }
        }
        // 50,000 letters: 1,562 of each are expected, with a standard deviation of 39.
        assert!(counts.iter().all(|count| (1360..1765).contains(count)), "{counts:?}");
    }

    #[test]
    fn debugging_does_not_show_it() {
        assert_eq!(format!("{:?}", key(1)), "LicenseKey(…)");
    }

    fn letters_of(seed: u64) -> Vec<u8> {
        key(seed).expose().bytes().filter(|letter| *letter != b'-').collect()
    }

    proptest! {
        #[test]
        fn one_wrong_letter_is_noticed(seed: u64, index in 0..25_usize, letter in 0..32_usize) {
            let mut typed = letters_of(seed);
            prop_assume!(typed[index] != LETTERS[letter]);
            typed[index] = LETTERS[letter];
            prop_assert!(LicenseKey::parse(std::str::from_utf8(&typed).unwrap()).is_none());
        }

        #[test]
        fn two_letters_that_changed_places_are_noticed(seed: u64, one in 0..25_usize, other in 0..25_usize) {
            let mut typed = letters_of(seed);
            prop_assume!(typed[one] != typed[other]);
            typed.swap(one, other);
            prop_assert!(LicenseKey::parse(std::str::from_utf8(&typed).unwrap()).is_none());
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = LicenseKey::parse(&text);
        }
    }
}
