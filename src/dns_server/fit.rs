use std::borrow::Cow;

use hickory_proto::op::{Edns, Metadata};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::zone_handler::{MessageResponseBuilder, Queries};

use crate::zone::Answer;

/// What a reply has besides question and records.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) metadata: Metadata,
    pub(super) edns: Option<Edns>,
    /// The most bytes the message may have.
    pub(super) limit: u16,
}

/// Shortens an answer until its message keeps within the limit.
///
/// First sets go from the end of the additional section, whole ones and without a sign, unless
/// they are glue (RFC 2181 §9, RFC 9471 §3.1). If that is not enough, the message says that it is
/// truncated and has no records: a client may not use a part of a set anyway.
pub(super) fn fit<'z>(
    mut frame: Frame,
    mut answer: Answer<'z>,
    queries: &Queries,
) -> (Frame, Answer<'z>) {
    frame.metadata.response_code = answer.code;
    frame.metadata.authoritative = answer.authoritative;
    if fits(&frame, &answer, queries) {
        return (frame, answer);
    }
    let all = std::mem::take(&mut answer.additional);
    if !fits(&frame, &answer, queries) {
        frame.metadata.truncation = true;
        answer.answers.clear();
        answer.authority.clear();
        return (frame, answer);
    }
    frame.metadata.truncation = answer.needs_additional;
    let ends = set_ends(&all);
    // The largest number of sets that fits; none does, all do not.
    let (mut fitting, mut too_many) = (0, ends.len());
    while fitting + 1 < too_many {
        let middle = usize::midpoint(fitting, too_many);
        answer.additional = all[..ends[middle - 1]].to_vec();
        if fits(&frame, &answer, queries) {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    answer.additional = all[..fitting.checked_sub(1).map_or(0, |last| ends[last])].to_vec();
    (frame, answer)
}

/// Where each run of records with one owner and type ends.
fn set_ends(records: &[Cow<'_, hickory_proto::rr::Record>]) -> Vec<usize> {
    let mut ends: Vec<usize> = records
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| {
            pair[0].name != pair[1].name || pair[0].record_type() != pair[1].record_type()
        })
        .map(|(before, _)| before + 1)
        .collect();
    ends.push(records.len());
    ends
}

fn fits(frame: &Frame, answer: &Answer<'_>, queries: &Queries) -> bool {
    let mut bytes = Vec::with_capacity(usize::from(frame.limit.min(1500)));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(frame.limit);
    let mut metadata = frame.metadata;
    metadata.truncation = false;
    let message = MessageResponseBuilder::new(queries, frame.edns.as_ref()).build(
        metadata,
        answer.answers.iter().map(Cow::as_ref),
        answer.authority.iter().map(Cow::as_ref),
        [],
        answer.additional.iter().map(Cow::as_ref),
    );
    message.destructive_emit(&mut encoder).is_ok_and(|sent| !sent.truncation)
}
