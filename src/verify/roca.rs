//! The fingerprint of CVE-2017-15361 (ROCA) in an RSA modulus.
//!
//! The flawed generator chose primes k·M + (65537^a mod M), M being a product of the first primes,
//! at least those up to 167 (Nemec et al., "The Return of Coppersmith's Attack", section 2). Their
//! product is 65537^c modulo each of these primes, for one and the same c. An honest modulus has
//! that property with a probability of about 2⁻¹⁵⁴.

/// The odd primes whose product divides M at every key size; first those that tell most moduli apart.
const PRIMES: [u32; 38] = [
    37, 11, 3, 5, 7, 13, 17, 19, 23, 29, 31, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus, big-endian, is the product of two primes of the flawed generator.
pub(crate) fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    let mut known: Vec<Congruence> = Vec::with_capacity(PRIMES.len());
    for prime in PRIMES {
        match Congruence::of(modulus, prime) {
            Some(found) if known.iter().all(|other| found.agrees_with(other)) => known.push(found),
            _ => return false,
        }
    }
    true
}

/// What a prime says about the exponent c: its value modulo the order of 65537.
struct Congruence {
    logarithm: u32,
    order: u32,
}

impl Congruence {
    /// `None` when the modulus is no power of 65537 modulo the prime.
    fn of(modulus: &[u8], prime: u32) -> Option<Self> {
        let (head, pairs) = modulus.as_rchunks::<2>();
        let head = head.iter().fold(0, |_, byte| u32::from(*byte) % prime);
        let residue = pairs.iter().fold(head, |rest, pair| {
            (rest * 65_536 + u32::from(u16::from_be_bytes(*pair))) % prime
        });
        let (mut power, mut order, mut logarithm) = (1, 0, None);
        loop {
            if power == residue {
                logarithm = Some(order);
            }
            power = power * (65_537 % prime) % prime;
            order += 1;
            if power == 1 {
                return logarithm.map(|logarithm| Self { logarithm, order });
            }
        }
    }

    /// Chinese remainder theorem: congruences have a common solution when each two agree modulo
    /// what their moduli have in common.
    fn agrees_with(&self, other: &Self) -> bool {
        let common = common_divisor(self.order, other.order);
        self.logarithm
            .abs_diff(other.logarithm)
            .is_multiple_of(common)
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A number of 2,048 bits that is 65537^exponent modulo M.
    pub(crate) fn flawed_modulus(exponent: u32) -> Vec<u8> {
        flawed_modulus_of(256, exponent)
    }

    /// The same of any size in bytes: M shifted to the top, plus the power.
    fn flawed_modulus_of(size: usize, exponent: u32) -> Vec<u8> {
        let primorial = PRIMES
            .iter()
            .fold(vec![2], |product, prime| times(&product, *prime));
        let top = times(&primorial, 16);
        let mut modulus = [vec![0; size - top.len()], top].concat();
        let power = (0..exponent).fold(vec![1], |power, _| times(&power, 65_537));
        for (to, from) in modulus.iter_mut().zip(power) {
            assert_eq!(*to, 0, "the parts do not overlap");
            *to = from;
        }
        modulus.reverse();
        modulus
    }

    /// Little-endian product.
    fn times(number: &[u8], factor: u32) -> Vec<u8> {
        let (mut out, mut carry) = (Vec::new(), 0);
        for byte in number {
            carry += u64::from(*byte) * u64::from(factor);
            out.push(carry.to_le_bytes()[0]);
            carry >>= 8;
        }
        while carry > 0 {
            out.push(carry.to_le_bytes()[0]);
            carry >>= 8;
        }
        out
    }

    #[test]
    fn flawed_moduli_are_found() {
        for exponent in [1, 2, 41, 100, 113] {
            let modulus = flawed_modulus(exponent);
            assert_eq!(
                (modulus.len(), modulus[0] >> 7, modulus[255] & 1),
                (256, 1, 1)
            );
            assert!(has_roca_fingerprint(&modulus), "65537^{exponent}");
        }
    }

    #[test]
    fn flawed_moduli_of_odd_sizes_are_found() {
        for size in [255, 257] {
            let mut modulus = flawed_modulus_of(size, 100);
            assert!(has_roca_fingerprint(&modulus), "{size}");
            modulus[0] ^= 1;
            assert!(!has_roca_fingerprint(&modulus), "{size}");
        }
    }

    #[test]
    fn a_modulus_from_a_flawed_chip_is_found() {
        // From the test data of the ROCA detection tool (crocs-muni/roca, mod03.txt, MIT).
        let modulus = "9dcd7420e420c270a68060eb8b5aa7457a9f6648f86fafed2775cc1f79ae962f1e63f1b9e51c55f9\
            ea6fdc7332e9b0058c9ff2eb1fc89855029cf6aafe21e689feb38ac9ffb12f1ce371bb5d0e9aae64161abce74b42\
            44bf68f1edb4411f756a097c8929c14740245ea355f8332d1aa36bb50c7dcb4505da8de02e4e53d38f8df06097da\
            7524df0df93db48eac8cc4af2d3a16257eb2b2adca6ba464e5974fa92550d31b1babf161e7692d00b86e3dd886ec\
            ab4abfbe1a8f8cc263ff4af55cdb45f4249a5193925f5e983d762f0b6800943eb0267b08f42ed311ce1f5c86eacb\
            c8ce4d3cb7a2fee1ef5641423a1cf4114e5ecf50034a60a412523af9e6f4aa11";
        assert!(has_roca_fingerprint(&hex::decode(modulus).unwrap()));
    }

    #[test]
    fn near_misses_pass() {
        let mut near = flawed_modulus(100);
        near[255] ^= 2;
        assert!(!has_roca_fingerprint(&near));
        // 65537^50 modulo all primes but the last and 65537^51 modulo that: every residue is a
        // power, and only the comparison of exponents tells.
        let step = PRIMES[..37]
            .iter()
            .fold(vec![2], |product, prime| times(&product, *prime));
        let residue = |modulus: &[u8]| {
            modulus
                .iter()
                .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 167)
        };
        let wanted = residue(&flawed_modulus(51));
        let mixed = (1..167)
            .map(|factor| plus(&flawed_modulus(50), &times(&step, factor)))
            .find(|modulus| residue(modulus) == wanted)
            .unwrap();
        assert!(
            PRIMES
                .iter()
                .all(|prime| Congruence::of(&mixed, *prime).is_some())
        );
        assert!(!has_roca_fingerprint(&mixed));
    }

    /// Sum of a big-endian and a shorter little-endian number.
    fn plus(number: &[u8], addend: &[u8]) -> Vec<u8> {
        let mut carry = 0;
        let addend = addend.iter().copied().chain(std::iter::repeat(0));
        let mut out: Vec<u8> = (number.iter().rev().zip(addend))
            .map(|(a, b)| {
                carry += u16::from(*a) + u16::from(b);
                let digit = carry.to_le_bytes()[0];
                carry >>= 8;
                digit
            })
            .collect();
        out.reverse();
        out
    }
}
