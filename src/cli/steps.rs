//! What a check says step by step: as text while it goes on, or as JSON at its end.

use serde::Serialize;

use super::output::{self, Format};
use super::{Failure, running};

/// How a step ended; the worst is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It stays unknown, and that is no fault.
    Skipped,
    Ok,
    /// The start goes on, and hardly as it was meant.
    Warning,
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    name: String,
    outcome: Outcome,
    detail: String,
    /// What to do about it.
    way_out: Option<String>,
}

/// All steps, as they are printed for programs.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    outcome: Outcome,
    pub(super) steps: Vec<Step>,
}

/// Why a check ends before its last step.
#[derive(Debug)]
pub(super) enum Stop {
    /// This step failed, and what follows makes no sense without it. The cure is empty where what is wrong says it.
    Sick { step: &'static str, what: String, cure: String },
    /// The check itself went wrong.
    Failure(Failure),
}

/// The steps that were taken.
#[derive(Debug)]
pub(super) struct Steps {
    format: Format,
    taken: Vec<Step>,
    /// What kept the text from being printed.
    unprinted: Option<Failure>,
}

/// A step that ends the check.
pub(super) fn sick(step: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Stop {
    Stop::Sick { step, what: what.into(), cure: cure.into() }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Step {
    pub(super) fn new(
        name: impl Into<String>,
        outcome: Outcome,
        detail: impl Into<String>,
        way_out: Option<String>,
    ) -> Self {
        Self { name: name.into(), outcome, detail: detail.into(), way_out }
    }

    /// The line of the step, and its way out.
    pub(super) fn text(&self) -> String {
        let label = match self.outcome {
            Outcome::Ok => "ok  ",
            Outcome::Warning => "warn",
            Outcome::Failed => "FAIL",
            Outcome::Skipped => "--  ",
        };
        let mut text = format!("{label}  {}: {}\n", self.name, self.detail);
        if let Some(way_out) = &self.way_out {
            text.push_str(&format!("      {way_out}\n"));
        }
        text
    }
}

impl Record {
    pub(super) fn of(steps: Vec<Step>) -> Self {
        let worst = steps.iter().map(|step| step.outcome).max();
        let outcome = worst.unwrap_or(Outcome::Ok).max(Outcome::Ok);
        Self { outcome, steps }
    }

    /// The steps that failed, as one line; `None` if none did.
    fn failed(&self) -> Option<String> {
        let failed = self.steps.iter().filter(|step| step.outcome == Outcome::Failed);
        let names: Vec<&str> = failed.map(|step| step.name.as_str()).collect();
        let mut different = names.clone();
        different.dedup();
        let line =
            || format!("{} failed: {}", output::counted(names.len(), "step"), different.join(", "));
        (!names.is_empty()).then(line)
    }
}

impl Steps {
    pub(super) fn new(format: Format) -> Self {
        Self { format, taken: Vec::new(), unprinted: None }
    }

    pub(super) fn ok(&mut self, name: &str, detail: impl Into<String>) {
        self.take(Step::new(name, Outcome::Ok, detail, None));
    }

    /// What stays unknown, and what would make it known.
    pub(super) fn open(&mut self, name: &str, detail: impl Into<String>) {
        self.take(Step::new(name, Outcome::Skipped, detail, None));
    }

    pub(super) fn warn(&mut self, name: &str, detail: impl Into<String>, cure: impl Into<String>) {
        self.take(Step::new(name, Outcome::Warning, detail, Some(cure.into())));
    }

    pub(super) fn fail(&mut self, name: &str, detail: impl Into<String>, cure: impl Into<String>) {
        let way_out = Some(cure.into()).filter(|cure| !cure.is_empty());
        self.take(Step::new(name, Outcome::Failed, detail, way_out));
    }

    /// Keeps a step; as text it is printed at once.
    pub(super) fn take(&mut self, step: Step) {
        if self.format == Format::Text && self.unprinted.is_none() {
            self.unprinted = output::print(&step.text()).err();
        }
        self.taken.push(step);
    }

    /// All that was taken.
    pub(super) fn into_record(self) -> Record {
        Record::of(self.taken)
    }

    /// Ends the check; exit code 1 if a step failed.
    pub(super) fn close(self) -> Result<(), Failure> {
        self.close_as(running)
    }

    /// The same of a check that may have stopped early.
    pub(super) fn end(mut self, outcome: Result<(), Stop>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => {}
            Err(Stop::Sick { step, what, cure }) => self.fail(step, what, cure),
            Err(Stop::Failure(failure)) => return Err(failure),
        }
        self.close()
    }

    /// The same with another kind of failure for steps that failed.
    pub(super) fn close_as(mut self, kind: impl FnOnce(String) -> Failure) -> Result<(), Failure> {
        if let Some(failure) = self.unprinted.take() {
            return Err(failure);
        }
        let format = self.format;
        let record = self.into_record();
        if format == Format::Json {
            output::print(&output::json(&record))?;
        }
        record.failed().map_or(Ok(()), |line| Err(kind(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcomes: &[Outcome]) -> Record {
        Record::of(outcomes.iter().map(|outcome| Step::new("s", *outcome, "d", None)).collect())
    }

    #[test]
    fn the_worst_step_is_the_outcome_of_all() {
        use Outcome::{Failed, Ok, Skipped, Warning};
        for (outcomes, worst) in [
            (&[][..], Ok),
            (&[Skipped], Ok),
            (&[Ok, Skipped], Ok),
            (&[Ok, Warning, Ok], Warning),
            (&[Failed, Warning], Failed),
        ] {
            assert_eq!(record(outcomes).outcome, worst, "{outcomes:?}");
        }
        assert_eq!(record(&[Failed, Ok, Failed]).failed().unwrap(), "2 steps failed: s");
        assert_eq!(record(&[Warning]).failed(), None);
    }

    #[test]
    fn steps_keep_their_shape() {
        let way_out = Some("start it".to_owned());
        let failed = Step::new("reachable", Outcome::Failed, "nobody is there", way_out);
        assert_eq!(failed.text(), "FAIL  reachable: nobody is there\n      start it\n");
        let ok = Step::new("size", Outcome::Ok, "3", None);
        assert_eq!(ok.text(), "ok    size: 3\n");
        let json = serde_json::to_value(Record::of(vec![failed, ok])).unwrap();
        let expected = serde_json::json!({"outcome": "failed", "steps": [
            {"name": "reachable", "outcome": "failed", "detail": "nobody is there", "way_out": "start it"},
            {"name": "size", "outcome": "ok", "detail": "3", "way_out": null},
        ]});
        assert_eq!(json, expected);
    }
}
