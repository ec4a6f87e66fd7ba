//! Where the CAA records of a name are: at the name, or at the nearest one above it that has any (RFC 8659 §3). A machine
//! that says what to ask next; who asks is the platform.

use shared::identifier::DnsName;

use super::{
    caa::RecordSet,
    dns::{DnsFault, Question, Record, RecordType},
};

/// Names that are asked for one certificate's name at most. One with more labels is refused: nothing real is so deep.
pub const MAX_LOOKUPS: usize = 32;

/// The records that count, if there are any; or why that cannot be known, which is not as if there were none.
pub type CaaOutcome = Result<Option<RecordSet>, CaaFault>;

/// Why it cannot be known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaaFault {
    /// A question had no answer.
    #[error("{asked}: {fault}")]
    Lookup {
        /// The question, for people.
        asked: String,
        /// What came in place of an answer.
        fault: DnsFault,
    },
    /// More than [`MAX_LOOKUPS`].
    #[error("the name has more than {MAX_LOOKUPS} labels, which is the limit for CAA lookups")]
    TooDeep,
    /// Nobody looked.
    #[error("the lookup did not take place; try again with a new order")]
    NotAsked,
}

/// On the way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Climb {
    question: Question,
    left: usize,
}

/// After an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Climbed {
    /// There is more to ask.
    On(Climb),
    /// There is not.
    Done(CaaOutcome),
}

impl Climb {
    /// Begins at the name; a wildcard begins at the name that it is over.
    ///
    /// # Errors
    /// [`CaaFault::Lookup`] when the name does not fit into a DNS message.
    pub fn new(name: &DnsName) -> Result<Self, CaaFault> {
        let failed = |fault| CaaFault::Lookup { asked: format!("CAA {}", name.base()), fault };
        let question = Question::below(&[], name, RecordType::Caa).map_err(failed)?;
        Ok(Self { question, left: MAX_LOOKUPS.saturating_sub(1) })
    }

    /// What to ask now.
    #[must_use]
    pub const fn question(&self) -> &Question {
        &self.question
    }

    /// Takes the answer: the records at the end of the aliases. Those of the name above are then looked for above the name
    /// itself, never above what it is an alias of.
    #[must_use]
    pub fn take(self, answer: Result<Vec<Record>, DnsFault>) -> Climbed {
        let found = match answer {
            Ok(records) => RecordSet::new(self.question.name(), records),
            Err(DnsFault::NoRecords | DnsFault::NoSuchName) => None,
            Err(fault) => return Climbed::Done(Err(CaaFault::Lookup { asked: self.question.to_string(), fault })),
        };
        match (found, self.question.above(), self.left.checked_sub(1)) {
            (Some(records), _, _) => Climbed::Done(Ok(Some(records))),
            (None, None, _) => Climbed::Done(Ok(None)),
            (None, Some(question), Some(left)) => Climbed::On(Self { question, left }),
            (None, Some(_), None) => Climbed::Done(Err(CaaFault::TooDeep)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Climbs with a resolver that knows one name's answer and says of all others what `others` says.
    fn climb(
        name: &str,
        at: &str,
        answer: Result<Vec<Record>, DnsFault>,
        others: DnsFault,
    ) -> (Vec<String>, CaaOutcome) {
        let mut asked = Vec::new();
        let mut climb = Climb::new(&name.parse().unwrap()).unwrap();
        loop {
            let name = climb.question().name();
            let said = if name == at { answer.clone() } else { Err(others) };
            asked.push(name);
            match climb.take(said) {
                Climbed::On(next) => climb = next,
                Climbed::Done(outcome) => return (asked, outcome),
            }
        }
    }

    fn issue() -> Vec<Record> {
        vec![Record::Caa { critical: false, tag: "issue".to_owned(), value: b"ca.test".to_vec() }]
    }

    #[test]
    fn the_nearest_records_count_and_nothing_above_them_is_asked() {
        for others in [DnsFault::NoRecords, DnsFault::NoSuchName] {
            for (at, number) in [("c.b.a.test", 1), ("b.a.test", 2), ("a.test", 3), ("test", 4)] {
                let (asked, outcome) = climb("*.c.b.a.test", at, Ok(issue()), others);
                assert_eq!(asked, ["c.b.a.test", "b.a.test", "a.test", "test"][..number]);
                assert_eq!(outcome.unwrap().unwrap().at, at);
            }
            let (asked, outcome) = climb("c.b.a.test", "elsewhere", Ok(issue()), others);
            assert_eq!((asked.len(), outcome), (4, Ok(None)));
        }
    }

    #[test]
    fn a_question_without_an_answer_ends_the_climb_and_is_never_as_no_records() {
        let faults = [
            DnsFault::Failure(2),
            DnsFault::Failure(5),
            DnsFault::Timeout,
            DnsFault::Unreachable,
            DnsFault::Malformed,
            DnsFault::Truncated,
        ];
        for fault in faults {
            for (at, number) in [("b.a.test", 1), ("a.test", 2), ("test", 3)] {
                let (asked, outcome) = climb("b.a.test", at, Err(fault), DnsFault::NoRecords);
                assert_eq!(asked.len(), number);
                assert_eq!(outcome, Err(CaaFault::Lookup { asked: format!("CAA {at}"), fault }));
            }
        }
    }

    #[test]
    fn the_number_of_lookups_is_bounded() {
        let deep = |labels: usize| climb(&vec!["a"; labels].join("."), "none", Ok(issue()), DnsFault::NoRecords);
        assert_eq!(deep(MAX_LOOKUPS).1, Ok(None));
        let (asked, outcome) = deep(MAX_LOOKUPS + 1);
        assert_eq!((asked.len(), outcome), (MAX_LOOKUPS, Err(CaaFault::TooDeep)));
    }
}
