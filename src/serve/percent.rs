//! `%XX` in targets of HTTP and in addresses.

/// With the bytes that `%XX` stands for in its place. `None` if a `%` has no two digits after it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        };
        decoded.push(byte);
    }
    Some(decoded)
}
