use super::*;
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

fn parse(message: &Message) -> Result<Vec<Record>, ProbeFault> {
    records(question().parse_answer(ID, &message.to_vec().unwrap()))
}

fn records(answer: Result<Answer, ProbeFault>) -> Result<Vec<Record>, ProbeFault> {
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
    let question = Question::address(&"*.a.test".parse().unwrap(), RecordType::A).unwrap();
    assert_eq!(question.name, name("a.test"));
}

#[test]
fn a_name_that_is_too_long_with_its_prefix_does_not_exist() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(56)].join(".");
    assert_eq!(Question::challenge(&long.parse().unwrap()), Err(ProbeFault::NoSuchName));
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
fn a_chain_that_never_ends_is_malformed_after_eight_aliases() {
    let mut asked = question();
    for aliases in 1.. {
        let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
        message.metadata.message_type = MessageType::Response;
        let target = name(&format!("{aliases}.test"));
        message.add_answer(rr::Record::from_rdata(asked.name.clone(), 60, RData::CNAME(CNAME(target))));
        match asked.parse_answer(ID, &message.to_vec().unwrap()) {
            Ok(Answer::Alias(next)) => asked = next,
            other => {
                assert_eq!((other, aliases), (Err(ProbeFault::DnsMalformed), MAX_ALIASES + 1));
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

#[test]
fn records_of_other_names_are_no_answer() {
    assert_eq!(parse(&answer(vec![text("b.test", &[b"other"])])), Err(ProbeFault::NoRecords));
}

#[test]
fn eight_aliases_are_followed_and_a_loop_is_malformed() {
    let chain = |length: usize| {
        let owner = |index| if index == 0 { "_acme-challenge.a.test".to_owned() } else { format!("{index}.test") };
        let mut records: Vec<_> = (0..length).map(|index| alias(&owner(index), &owner(index + 1))).collect();
        records.push(text(&owner(length), &[b"end"]));
        parse(&answer(records))
    };
    assert!(chain(MAX_ALIASES).is_ok());
    assert_eq!(chain(MAX_ALIASES + 1), Err(ProbeFault::DnsMalformed));
    let circle = vec![alias("_acme-challenge.a.test", "b.test"), alias("b.test", "_acme-challenge.a.test")];
    assert_eq!(parse(&answer(circle)), Err(ProbeFault::DnsMalformed));
}

#[test]
fn response_codes_are_told_apart() {
    let table = [
        (ResponseCode::NoError, ProbeFault::NoRecords),
        (ResponseCode::NXDomain, ProbeFault::NoSuchName),
        (ResponseCode::ServFail, ProbeFault::DnsFailure(2)),
        (ResponseCode::Refused, ProbeFault::DnsFailure(5)),
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
        assert_eq!(changed(change), Err(ProbeFault::DnsMalformed));
    }
    assert_eq!(changed(|message| message.metadata.truncation = true), Err(ProbeFault::DnsTruncated));
}

#[test]
fn addresses_of_another_type_are_no_answer() {
    let question = Question::address(&"a.test".parse().unwrap(), RecordType::Aaaa).unwrap();
    let mut message = Message::from_vec(&question.query(ID).unwrap()).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.add_answer(record("a.test", RData::A(A::new(192, 0, 2, 1))));
    assert_eq!(records(question.parse_answer(ID, &message.to_vec().unwrap())), Err(ProbeFault::NoRecords));
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
