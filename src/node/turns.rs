use std::sync::atomic::{AtomicBool, Ordering, fence};

use parking_lot::{Mutex, MutexGuard};

/// Something that threads work with one at a time, and none waits for another to be done with it.
///
/// Who has brought something to work on [offers](Self::offer) a turn. If another thread has it, that one hears when it
/// is done that there is more.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// Nothing before the start and after the end, or after a panic in the middle of a turn.
    held: Mutex<Option<Box<T>>>,
    /// Something was brought since the last turn began.
    news: AtomicBool,
}

/// There is nothing to work with any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stopped;

impl<T> Turns<T> {
    /// Nobody gets a turn before the start.
    pub(super) fn new() -> Self {
        Self { held: Mutex::new(None), news: AtomicBool::new(false) }
    }

    pub(super) fn start(&self, value: T) {
        *self.held.lock() = Some(Box::new(value));
    }

    pub(super) fn end(&self) {
        *self.held.lock() = None;
    }

    /// Takes a turn if nobody else does; to be called after something was brought.
    ///
    /// What `work` gave, and whether more was brought meanwhile: then there must be another turn.
    pub(super) fn offer<R>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R, Stopped>,
    ) -> Option<Result<(R, bool), Stopped>> {
        self.news.store(true, Ordering::Release);
        // Either this sees the lock free, or who has it sees the news after letting it go.
        fence(Ordering::SeqCst);
        Some(self.work(self.held.try_lock()?, work))
    }

    /// As [`Self::offer`], but waits for whoever has the turn.
    pub(super) fn take<R>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R, Stopped>,
    ) -> Result<(R, bool), Stopped> {
        self.work(self.held.lock(), work)
    }

    /// An error ends it for everybody.
    fn work<R>(
        &self,
        mut held: MutexGuard<'_, Option<Box<T>>>,
        work: impl FnOnce(&mut T) -> Result<R, Stopped>,
    ) -> Result<(R, bool), Stopped> {
        let mut value = held.take().ok_or(Stopped)?;
        // Who takes the news away also sees what they are about.
        self.news.swap(false, Ordering::Acquire);
        let given = work(&mut value)?;
        *held = Some(value);
        drop(held);
        fence(Ordering::SeqCst);
        Ok((given, self.news.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    const THREADS: usize = 3;
    const ROUNDS: usize = 10_000;

    #[test]
    fn nothing_that_was_brought_is_overlooked() {
        let turns = Turns::new();
        let (bring, brought) = channel();
        turns.start(brought);
        let more = AtomicBool::new(false);
        let (settled, overlooked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let together = Barrier::new(THREADS);
        let one = |number: usize, bring: std::sync::mpsc::Sender<usize>| {
            for round in 0..ROUNDS {
                together.wait();
                bring.send(round).unwrap();
                if let Some((_, true)) =
                    turns.offer(|all| Ok(all.try_iter().count())).transpose().unwrap()
                {
                    more.store(true, Ordering::Relaxed);
                }
                together.wait();
                if number == 0 && !more.swap(false, Ordering::Relaxed) {
                    let (left, _) = turns.take(|all| Ok(all.try_iter().count())).unwrap();
                    overlooked.fetch_add(left, Ordering::Relaxed);
                    settled.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (bring, one) = (bring.clone(), &one);
                scope.spawn(move || one(number, bring));
            }
        });
        assert_eq!(overlooked.into_inner(), 0);
        assert!(settled.into_inner() > 0, "there was more to do after every round");
    }

    #[test]
    fn nobody_works_before_the_start_and_after_the_end() {
        let turns = Turns::new();
        let work = |_: &mut ()| Ok(());
        assert_eq!(turns.take(work), Err(Stopped));
        turns.start(());
        assert_eq!(turns.offer(work), Some(Ok(((), false))));
        assert_eq!(turns.take(|()| Err::<(), _>(Stopped)), Err(Stopped));
        assert_eq!(turns.take(work), Err(Stopped), "an error ends it");
        turns.start(());
        turns.end();
        assert_eq!(turns.offer(work), Some(Err(Stopped)));
    }
}
