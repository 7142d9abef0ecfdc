//! Reads standard base64 with padding (RFC 4648 §4), with the errors of Go's `encoding/base64`.

/// The bytes, or the place of the input that makes no sense. Line breaks are skipped.
pub(in crate::api) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut at = 0;
    loop {
        let mut bits = 0_u32;
        let mut digits = 0;
        while digits < 4 {
            let Some(c) = text.get(at).copied() else {
                // Go names the beginning of the piece that was cut short.
                return if digits == 0 { Ok(bytes) } else { Err(at - digits) };
            };
            at += 1;
            match c {
                b'\r' | b'\n' => {}
                b'=' if digits < 2 => return Err(at - 1),
                b'=' => return padding(text, at, digits, bits, bytes),
                c => {
                    bits = bits << 6 | value(c).ok_or(at - 1)?;
                    digits += 1;
                }
            }
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
}

/// The end of the text, from behind the first `=`.
fn padding(
    text: &[u8],
    mut at: usize,
    digits: usize,
    bits: u32,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, usize> {
    let skip = |mut at: usize| {
        while matches!(text.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    if digits == 2 {
        at = skip(at);
        match text.get(at) {
            Some(b'=') => at += 1,
            Some(_) => return Err(at - 1),
            None => return Err(text.len()),
        }
    }
    at = skip(at);
    if at < text.len() {
        return Err(at);
    }
    let bits = bits << (6 * (4 - digits));
    bytes.extend_from_slice(&bits.to_be_bytes()[1..digits]);
    Ok(bytes)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    #[test]
    fn bytes_come_back() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
            let text = BASE64.encode(&bytes);
            assert_eq!(decode(text.as_bytes()), Ok(bytes));
        }
        assert_eq!(decode(b"Zm\n9v\r\n"), Ok(b"foo".to_vec()));
    }

    #[test]
    fn errors_name_the_place_as_go_does() {
        for (text, at) in [
            ("Zm9", 0),
            ("Zm9vY", 4),
            ("Zm-_", 2),
            ("=", 0),
            ("Z===", 1),
            ("Zg=", 3),
            ("Zg=x", 2),
            ("Zg==x", 4),
            ("Zm9vZm8=Zg==", 8),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(at), "{text}");
        }
    }
}
