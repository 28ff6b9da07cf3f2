//! What the server says of the expressions of the tables looked at so far.
//!
//! A transform is made without asking anybody: whoever plans a table has its questions asked before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::Calculator;
use crate::transform::{Answer, Question, Unusable};

#[derive(Debug)]
pub(super) struct Answers {
    calculator: Calculator,
    /// Also those that are no good: a later look asks them again.
    known: Mutex<HashMap<Question, Result<Answer, Unusable>>>,
}

impl Answers {
    pub(super) fn new(calculator: Calculator) -> Answers {
        Answers { calculator, known: Mutex::default() }
    }

    pub(super) fn calculator(&self) -> &Calculator {
        &self.calculator
    }

    pub(super) async fn ask(&self, questions: &[Question]) -> Result<(), PipelineError> {
        let answers = self.calculator.examine(questions).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
        Ok(())
    }

    /// None where it was not asked.
    pub(super) fn of(&self, question: &Question) -> Option<Result<Answer, Unusable>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(question).cloned()
    }
}
