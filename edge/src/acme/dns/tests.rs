use super::*;
use crate::acme::caa::{Forbidden, Issuance, RecordSet};
use hickory_proto::rr::rdata::{A, CNAME, TXT};
use proptest::prelude::*;

const ID: u16 = 0x1234;

fn question() -> Question {
    Question::challenge(&"a.test".parse().unwrap()).unwrap()
}

fn name(text: &str) -> Name {
    let mut name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
    name.set_fqdn(true);
    name
}

fn record(owner: &str, data: RData) -> rr::Record {
    rr::Record::from_rdata(name(owner), 60, data)
}

fn text(owner: &str, strings: &[&[u8]]) -> rr::Record {
    record(owner, RData::TXT(TXT::from_bytes(strings.to_vec())))
}

fn alias(owner: &str, target: &str) -> rr::Record {
    record(owner, RData::CNAME(CNAME(name(target))))
}

fn answer(records: Vec<rr::Record>) -> Message {
    let mut message = Message::from_vec(&question().query(ID).unwrap()).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.add_answers(records);
    message
}

fn parse(message: &Message) -> Result<Vec<Record>, DnsFault> {
    records(question().parse_answer(ID, &message.to_vec().unwrap()))
}

fn records(answer: Result<Answer, DnsFault>) -> Result<Vec<Record>, DnsFault> {
    match answer? {
        Answer::Records(records) => Ok(records),
        Answer::Alias(question) => panic!("{question}"),
    }
}

#[test]
fn a_query_is_one_question_that_asks_for_recursion() {
    let expected = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x0f_acme-challenge\x01a\x04test\0\0\x10\0\x01";
    assert_eq!(question().query(ID).unwrap(), expected);
}

#[test]
fn a_wildcard_is_asked_for_without_its_star() {
    let question = Question::below(&[], &"*.a.test".parse().unwrap(), RecordType::A).unwrap();
    assert_eq!(question.name, name("a.test"));
}

#[test]
fn a_name_that_is_too_long_with_its_prefix_does_not_exist() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(56)].join(".");
    assert_eq!(Question::challenge(&long.parse().unwrap()), Err(DnsFault::NoSuchName));
}

#[test]
fn texts_are_joined_within_a_record_and_kept_apart_between_records() {
    let message =
        answer(vec![text("_acme-challenge.a.test", &[b"one", b"two"]), text("_acme-challenge.A.TEST", &[b""])]);
    assert_eq!(parse(&message), Ok(vec![Record::Text(b"onetwo".to_vec()), Record::Text(Vec::new())]));
}

#[test]
fn aliases_are_followed_in_any_order() {
    let message =
        answer(vec![text("c.test", &[b"found"]), alias("b.test", "c.test"), alias("_acme-challenge.a.test", "b.test")]);
    assert_eq!(parse(&message), Ok(vec![Record::Text(b"found".to_vec())]));
}

#[test]
fn a_chain_that_ends_outside_of_the_answer_is_asked_on_and_counted() {
    let message = answer(vec![alias("_acme-challenge.a.test", "b.test"), text("_acme-challenge.a.test", &[b"beside"])]);
    let on = question().parse_answer(ID, &message.to_vec().unwrap()).unwrap();
    assert_eq!(on, Answer::Alias(Question { name: name("b.test"), kind: RecordType::Txt, aliases: 1 }));
}

#[test]
fn a_chain_that_never_ends_is_refused_after_eight_aliases() {
    let mut asked = question();
    for aliases in 1.. {
        let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
        message.metadata.message_type = MessageType::Response;
        let target = name(&format!("{aliases}.test"));
        message.add_answer(rr::Record::from_rdata(asked.name.clone(), 60, RData::CNAME(CNAME(target))));
        match asked.parse_answer(ID, &message.to_vec().unwrap()) {
            Ok(Answer::Alias(next)) => asked = next,
            other => {
                assert_eq!((other, aliases), (Err(DnsFault::Aliases), MAX_ALIASES + 1));
                break;
            }
        }
    }
}

#[test]
fn the_name_above_a_top_level_domain_is_never_asked_for() {
    let asked = Question::below(&[], &"*.b.a.test".parse().unwrap(), RecordType::Caa).unwrap();
    let names: Vec<_> = std::iter::successors(Some(asked), Question::above).map(|asked| asked.to_string()).collect();
    assert_eq!(names, ["CAA b.a.test", "CAA a.test", "CAA test"]);
}

#[test]
fn caa_records_are_read_with_their_flag() {
    let asked = Question::below(&[], &"a.test".parse().unwrap(), RecordType::Caa).unwrap();
    let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
    message.metadata.message_type = MessageType::Response;
    let mut bytes = message.to_vec().unwrap();
    // The answer's count, then a record by hand: flags 128, tag "tbs", value "x".
    bytes[7] = 1;
    bytes.extend(b"\x01a\x04test\0\x01\x01\0\x01\0\0\0\x3c\0\x06\x80\x03tbsx");
    let expected = Record::Caa { critical: true, tag: "tbs".to_owned(), value: b"x".to_vec() };
    assert_eq!(records(asked.parse_answer(ID, &bytes)), Ok(vec![expected]));
}

/// An answer of 64 records that permit everything and one that forbids it once permitted: the last was cut off.
#[test]
fn every_record_of_an_answer_counts_however_many_come_before_it() {
    let asked = Question::below(&[], &"a.test".parse().unwrap(), RecordType::Caa).unwrap();
    let record = |tag: &str, value: &str| {
        let mut record = b"\xc0\x0c\x01\x01\0\x01\0\0\0\x3c\0".to_vec();
        record.push(u8::try_from(2 + tag.len() + value.len()).unwrap());
        record.extend([0, u8::try_from(tag.len()).unwrap()]);
        record.extend(tag.bytes().chain(value.bytes()));
        record
    };
    for before in [0, 1, 63, 64, 65, 1000] {
        let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
        message.metadata.message_type = MessageType::Response;
        let mut bytes = message.to_vec().unwrap();
        bytes[6..8].copy_from_slice(&u16::try_from(before + 1).unwrap().to_be_bytes());
        (0..before).for_each(|_| bytes.extend(record("iodef", "mailto:a@a.test")));
        bytes.extend(record("issue", "other.test"));
        let records = records(asked.parse_answer(ID, &bytes)).unwrap();
        assert_eq!(records.len(), before + 1);
        let issuers = ["ca.test".parse().unwrap()];
        let issuance = Issuance { issuers: &issuers, wildcard: false, account_url: "", method: "dns-01" };
        let permitted = RecordSet::new("a.test".to_owned(), records).unwrap().permit(&issuance);
        assert_eq!(permitted, Err(Forbidden::OtherIssuer), "{before}");
    }
}

#[test]
fn a_record_that_was_asked_for_and_cannot_be_read_is_never_left_out() {
    let asked = Question::below(&[], &"a.test".parse().unwrap(), RecordType::Caa).unwrap();
    let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
    message.metadata.message_type = MessageType::Response;
    let empty = message.to_vec().unwrap();
    // Without content, and with a tag that is longer than the record.
    for content in [&b"\0\0"[..], b"\0\x03\0\x09x"] {
        let mut bytes = empty.clone();
        bytes[7] = 1;
        bytes.extend(b"\xc0\x0c\x01\x01\0\x01\0\0\0\x3c");
        bytes.extend(content);
        assert_eq!(records(asked.parse_answer(ID, &bytes)), Err(DnsFault::Malformed), "{content:?}");
    }
}

#[test]
fn records_of_other_names_are_no_answer() {
    assert_eq!(parse(&answer(vec![text("b.test", &[b"other"])])), Err(DnsFault::NoRecords));
}

#[test]
fn eight_aliases_are_followed_and_a_loop_is_named_so() {
    let chain = |length: usize| {
        let owner = |index| if index == 0 { "_acme-challenge.a.test".to_owned() } else { format!("{index}.test") };
        let mut records: Vec<_> = (0..length).map(|index| alias(&owner(index), &owner(index + 1))).collect();
        records.push(text(&owner(length), &[b"end"]));
        parse(&answer(records))
    };
    assert!(chain(MAX_ALIASES).is_ok());
    assert_eq!(chain(MAX_ALIASES + 1), Err(DnsFault::Aliases));
    let circle = vec![alias("_acme-challenge.a.test", "b.test"), alias("b.test", "_acme-challenge.a.test")];
    assert_eq!(parse(&answer(circle)), Err(DnsFault::Aliases));
}

#[test]
fn response_codes_are_told_apart() {
    let table = [
        (ResponseCode::NoError, DnsFault::NoRecords),
        (ResponseCode::NXDomain, DnsFault::NoSuchName),
        (ResponseCode::ServFail, DnsFault::Failure(2)),
        (ResponseCode::Refused, DnsFault::Failure(5)),
    ];
    for (code, fault) in table {
        let mut message = answer(Vec::new());
        message.metadata.response_code = code;
        assert_eq!(parse(&message), Err(fault));
    }
}

#[test]
fn what_answers_another_question_is_malformed() {
    let records = || vec![text("_acme-challenge.a.test", &[b"x"])];
    let changed = |change: fn(&mut Message)| {
        let mut message = answer(records());
        change(&mut message);
        parse(&message)
    };
    assert!(changed(|_| {}).is_ok());
    let changes: [fn(&mut Message); 5] = [
        |message| message.metadata.id = ID + 1,
        |message| message.metadata.message_type = MessageType::Query,
        |message| message.metadata.op_code = OpCode::Notify,
        |message| message.queries.clear(),
        |message| message.queries = vec![Query::query(name("b.test"), rr::RecordType::TXT)],
    ];
    for change in changes {
        assert_eq!(changed(change), Err(DnsFault::Malformed));
    }
    assert_eq!(changed(|message| message.metadata.truncation = true), Err(DnsFault::Truncated));
}

#[test]
fn addresses_of_another_type_are_no_answer() {
    let question = Question::address(&"a.test".parse::<HostName>().unwrap(), RecordType::Aaaa).unwrap();
    let mut message = Message::from_vec(&question.query(ID).unwrap()).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.add_answer(record("a.test", RData::A(A::new(192, 0, 2, 1))));
    assert_eq!(records(question.parse_answer(ID, &message.to_vec().unwrap())), Err(DnsFault::NoRecords));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = question().parse_answer(ID, &bytes);
    }

    #[test]
    fn an_answer_with_changed_bytes_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let records = vec![alias("_acme-challenge.a.test", "b.test"), text("b.test", &[b"one", b"two"])];
        let mut bytes = answer(records).to_vec().unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = question().parse_answer(ID, &bytes);
    }
}
