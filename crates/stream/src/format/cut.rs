//! Messages that tell their own length, cut one after another.

use crate::Reason;

/// Cuts up to `rows` messages; `length` says how long the one is that bytes begin with, `None` where its end isn't there
/// yet. The last bytes of all are a message of their own, whole or not. A reason is passed on from the first message
/// only: from a later one it comes again when the bytes before it are cut.
pub(crate) fn each(
    bytes: &[u8],
    at_end: bool,
    rows: usize,
    ends: &mut Vec<u32>,
    length: impl Fn(&[u8]) -> Result<Option<usize>, Reason>,
) -> Result<usize, Reason> {
    let mut start = 0;
    let before = ends.len();
    while start < bytes.len() && ends.len() - before < rows {
        let end = match length(&bytes[start..]) {
            Ok(Some(length)) => start + length,
            Ok(None) if at_end => bytes.len(),
            Err(reason) if start == 0 => return Err(reason),
            Ok(None) | Err(_) => break,
        };
        let Ok(number) = u32::try_from(end) else { break };
        ends.push(number);
        start = end;
    }
    Ok(start)
}
