//! Questions that many ask at the same moment, answered together: a transaction costs the same whether one asks or a
//! hundred do.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tollgate_db::DbError;

use crate::tasks::Tasks;

/// How many may wait to be asked; whoever comes after that waits until there is room.
const WAITING_MAX: usize = 1024;

type Answer<A> = Result<A, DbError>;
type Waiting<Q, A> = mpsc::Receiver<(Q, oneshot::Sender<Answer<A>>)>;

/// Asks questions of one kind. Clones ask the same.
pub(super) struct Batches<Q, A>(mpsc::Sender<(Q, oneshot::Sender<Answer<A>>)>);

impl<Q, A> Clone for Batches<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q: Send + 'static, A: Send + 'static> Batches<Q, A> {
    /// Starts so many tasks called `name`, each of which takes the questions that wait, `batch_max` at most, and has them
    /// answered by `answer`: as many answers as there are questions, in their order. They end with the last clone.
    pub(super) fn start<W, F>(tasks: &Tasks, name: &'static str, count: usize, batch_max: usize, answer: W) -> Self
    where
        W: Fn(Vec<Q>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer<Vec<A>>> + Send,
    {
        let (asks, waiting) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..count {
            let (waiting, answer) = (waiting.clone(), answer.clone());
            tasks.keep(name, move || {
                let (waiting, answer) = (waiting.clone(), answer.clone());
                async move {
                    while let Some(batch) = take(&waiting, batch_max).await {
                        answer_all(batch, &answer).await;
                    }
                }
            });
        }
        Self(asks)
    }

    /// What `question` is answered.
    pub(super) async fn ask(&self, question: Q) -> Answer<A> {
        let (answer, answered) = oneshot::channel();
        let stopped = || DbError::Unavailable { reason: "nobody asks it any more".into() };
        self.0.send((question, answer)).await.map_err(|_| stopped())?;
        // Dropped where the answering panics: whoever asked may ask again.
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

async fn take<Q, A>(waiting: &Mutex<Waiting<Q, A>>, batch_max: usize) -> Option<Vec<(Q, oneshot::Sender<Answer<A>>)>> {
    let mut waiting = waiting.lock().await;
    let mut batch = Vec::new();
    (waiting.recv_many(&mut batch, batch_max).await > 0).then_some(batch)
}

async fn answer_all<Q, A, F>(batch: Vec<(Q, oneshot::Sender<Answer<A>>)>, answer: &impl Fn(Vec<Q>) -> F)
where
    F: Future<Output = Answer<Vec<A>>>,
{
    // Who no longer waits is not asked for.
    let (questions, asking): (Vec<_>, Vec<_>) = batch.into_iter().filter(|(_, asking)| !asking.is_closed()).unzip();
    if questions.is_empty() {
        return;
    }
    match answer(questions).await {
        Ok(answers) => {
            assert_eq!(answers.len(), asking.len(), "each question has its answer");
            for (asking, answer) in asking.into_iter().zip(answers) {
                // Who asked may have gone.
                let _ = asking.send(Ok(answer));
            }
        }
        Err(failure) => {
            for asking in asking {
                let _ = asking.send(Err(failure.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tollgate_shared::clock::from_unix;
    use tollgate_shared::{Clock, Rng};

    use super::*;

    fn tasks() -> Tasks {
        Tasks::new(Clock::manual(from_unix(0).unwrap()), Rng::seeded(1))
    }

    #[tokio::test]
    async fn questions_that_wait_are_answered_together_each_by_its_own() {
        let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let batches = Batches::start(&tasks(), "doubles", 1, 8, move |questions: Vec<u32>| {
            seen.lock().unwrap().push(questions.len());
            async move { Ok(questions.into_iter().map(|number| 2 * number).collect()) }
        });
        let answers = join_all((0..20).map(|number| batches.ask(number))).await;
        assert_eq!(answers, (0..20).map(|number| Ok(2 * number)).collect::<Vec<_>>());
        assert_eq!(*sizes.lock().unwrap(), [8, 8, 4]);
    }

    #[tokio::test]
    async fn what_fails_fails_for_all_who_asked_and_for_nobody_else() {
        let failure = DbError::Conflict { code: "40001".to_owned() };
        let said = failure.clone();
        let batches = Batches::start(&tasks(), "fails", 1, 2, move |questions: Vec<u32>| {
            let said = said.clone();
            async move { if questions.contains(&1) { Err(said) } else { Ok(questions) } }
        });
        let answers = join_all((0..4).map(|number| batches.ask(number))).await;
        assert_eq!(answers, [Err(failure.clone()), Err(failure), Ok(2), Ok(3)]);
    }

    #[tokio::test]
    async fn an_answer_that_panics_keeps_nobody_waiting() {
        let batches = Batches::start(&tasks(), "panics", 1, 1, |questions: Vec<u32>| async move {
            assert_ne!(questions, [0]);
            Ok(questions)
        });
        assert!(matches!(batches.ask(0).await, Err(DbError::Unavailable { .. })));
        assert_eq!(batches.ask(1).await, Ok(1));
    }
}
