//! Numbers that nobody can guess, from the operating system.

/// 24 random bytes as printable text: a nonce for SCRAM.
pub fn nonce() -> String {
    let bytes: [u8; 24] = bytes();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The secret of a cancel key of protocol 3.0.
pub fn secret() -> u32 {
    u32::from_be_bytes(bytes())
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a source of random numbers");
    bytes
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).expect("four bits are one hexadecimal digit")
}
