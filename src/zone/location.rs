use super::fields::{self, Fields};
use super::lexer::SyntaxError;

/// Latitude and longitude, altitude, size and precision (RFC 1876 §3).
pub(super) fn location(fields: &mut Fields<'_, '_>) -> Result<Vec<u8>, SyntaxError> {
    let latitude = angle(fields, 90, ['N', 'S'])?;
    let longitude = angle(fields, 180, ['E', 'W'])?;
    let metres = |fields: &mut Fields<'_, '_>, wanted: &'static str| -> Result<i64, SyntaxError> {
        let token = fields.next(wanted)?;
        let wrong = || token.unexpected(wanted);
        let text = fields::plain(token).ok_or_else(wrong)?;
        let text = text.strip_suffix(['m', 'M']).unwrap_or(text);
        thousandths(text, 2).ok_or_else(wrong)
    };
    let altitude = metres(fields, "an altitude in metres")? + 10_000_000;
    let at = fields.peek();
    let altitude = u32::try_from(altitude).map_err(|_reason| match at {
        Some(token) => token.unexpected("an altitude in metres"),
        None => fields.wanted("an altitude from -100000 m").expect_err("the line has ended"),
    })?;
    let mut out = vec![0];
    for (default, wanted) in [
        (100_i64, "a size in metres"),
        (1_000_000, "a horizontal precision in metres"),
        (1_000, "a vertical precision in metres"),
    ] {
        let centimetres = if fields.is_empty() { default } else { metres(fields, wanted)? };
        let mut exponent = 0_u8;
        let mut mantissa = centimetres.max(0);
        while mantissa > 9 && exponent < 9 {
            mantissa /= 10;
            exponent += 1;
        }
        out.push(u8::try_from(mantissa.min(9)).expect("one digit") << 4 | exponent);
    }
    for number in [latitude, longitude, altitude] {
        out.extend(number.to_be_bytes());
    }
    Ok(out)
}

/// `degrees [minutes [seconds]] direction` in thousandths of a second from the equator or Greenwich.
fn angle(
    fields: &mut Fields<'_, '_>,
    most: i64,
    directions: [char; 2],
) -> Result<u32, SyntaxError> {
    const WANTED: &str = "degrees, minutes, seconds and a direction (N or S, E or W)";
    let mut total = 0;
    for unit in [3_600_000, 60_000, 1_000, 0] {
        let token = fields.next(WANTED)?;
        let wrong = || token.unexpected(WANTED);
        let text = fields::plain(token).ok_or_else(wrong)?;
        let letter = text.chars().next().map(|first| first.to_ascii_uppercase());
        if let Some(at) = directions.iter().position(|it| text.len() == 1 && Some(*it) == letter) {
            let signed = if at == 0 { total } else { -total };
            let number = u32::try_from(signed + (1 << 31)).ok();
            return number.filter(|_| total <= most * 3_600_000).ok_or_else(wrong);
        }
        total += match unit {
            1_000 => thousandths(text, 3).filter(|it| (0..60_000).contains(it)),
            0 => None,
            unit => text.parse::<u32>().ok().map(|number| i64::from(number) * unit),
        }
        .ok_or_else(wrong)?;
    }
    Err(fields.next(WANTED).expect_err("the last round ends in one of the two ways"))
}

/// A decimal number times ten to the power of `places`; more digits behind the point are refused.
fn thousandths(text: &str, places: usize) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > places || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}
