use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;

#[derive(Debug, Default)]
struct Pipe {
    incoming: Vec<u8>,
    writes: Vec<Vec<u8>>,
    /// Bytes it still takes.
    room: usize,
    broken: bool,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.incoming.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.incoming));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        if taken == 0 {
            return Poll::Pending;
        }
        self.writes.push(bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads all there is, then writes and flushes a frame at a time, as the library does.
struct Library {
    stream: Gathered<Pipe>,
    to_write: Vec<u8>,
    polls: usize,
}

impl Future for Library {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polls += 1;
        let mut buffer = [0; 4096];
        let mut stream = self.stream.clone();
        while let Poll::Ready(read) =
            Pin::new(&mut stream).poll_read(context, &mut ReadBuf::new(&mut buffer))
        {
            read?;
        }
        while !self.to_write.is_empty() {
            let frame = &self.to_write[..self.to_write.len().min(answer().len())];
            let written = ready!(Pin::new(&mut stream).poll_write(context, frame))?;
            ready!(Pin::new(&mut stream).poll_flush(context))?;
            self.to_write.drain(..written);
        }
        Poll::Pending
    }
}

fn data(stream: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0, high, low, DATA, 0, 0, 0, 0, stream][..], payload].concat()
}

fn answer() -> Vec<u8> {
    data(1, &[7; 300])
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Test {
    paced: Paced<Library, Pipe>,
    wakes: Arc<Wakes>,
}

impl Test {
    /// A connection that has met its client.
    fn new() -> Self {
        let pipe = Pipe { incoming: PREFACE.to_vec(), room: usize::MAX, ..Pipe::default() };
        let stream = Gathered::new(pipe);
        let library = Library { stream: stream.clone(), to_write: Vec::new(), polls: 0 };
        let mut test = Self { paced: Paced::new(library, stream, true), wakes: Arc::default() };
        assert!(test.poll(0).is_pending());
        test
    }

    /// Lets it answer so many.
    fn poll(&mut self, answers: usize) -> Poll<io::Result<()>> {
        self.paced.connection().get_mut().to_write.extend(answer().repeat(answers));
        let waker = Waker::from(Arc::clone(&self.wakes));
        Pin::new(&mut self.paced).poll(&mut Context::from_waker(&waker))
    }

    fn pipe<T>(&self, look: impl FnOnce(&mut Pipe) -> T) -> T {
        look(&mut self.paced.stream.0.lock().stream)
    }

    fn counts(&mut self) -> (usize, usize) {
        (self.paced.connection().polls, self.wakes.0.load(Ordering::Relaxed))
    }
}

#[test]
fn many_frames_are_one_write() {
    let mut test = Test::new();
    assert!(test.poll(40).is_pending());
    assert_eq!(test.pipe(|pipe| std::mem::take(&mut pipe.writes)), [answer().repeat(40)]);
    assert!(test.poll(0).is_pending());
    assert_eq!(test.pipe(|pipe| pipe.writes.len()), 0);
}

#[test]
fn a_client_that_does_not_read_stops_the_library() {
    let mut test = Test::new();
    test.pipe(|pipe| pipe.room = 100_000);
    assert!(test.poll(1000).is_pending());
    assert!(test.paced.stream.0.lock().kept.len() <= FULL);
    let left = test.paced.connection().to_write.len();
    assert_eq!(left, 1000 * answer().len() - 2 * FULL);
    test.pipe(|pipe| pipe.room = usize::MAX);
    assert!(test.poll(0).is_pending());
    assert!(test.pipe(|pipe| pipe.writes.concat()) == answer().repeat(1000));
}

#[test]
fn others_go_first_while_several_wait_for_their_answers() {
    let mut test = Test::new();
    let polls = 2;
    test.pipe(|pipe| pipe.incoming = [data(1, b"put"), data(3, b"put")].concat());
    assert!(test.poll(0).is_pending());
    assert_eq!(test.counts(), (polls, 0), "nobody knew of them");
    assert!(test.poll(2).is_pending());
    assert_eq!(test.counts(), (polls, 1));
    assert!(test.poll(0).is_pending());
    assert_eq!(test.counts(), (polls + 1, 1));
    assert_eq!(test.pipe(|pipe| pipe.writes.len()), 1);
    // One alone is answered at once.
    test.pipe(|pipe| pipe.incoming = data(5, b"put"));
    assert!(test.poll(0).is_pending());
    assert!(test.poll(1).is_pending());
    assert_eq!(test.counts(), (polls + 3, 1));
}

#[test]
fn nobody_waits_for_answers_that_there_are_none_of() {
    let mut test = Test::new();
    test.paced.answers = false;
    test.pipe(|pipe| pipe.incoming = data(1, b"append").repeat(10));
    for _ in 0..10 {
        assert!(test.poll(0).is_pending());
    }
    assert_eq!(test.counts(), (1 + 10, 0));
}

#[test]
fn what_is_never_answered_is_forgotten() {
    let mut test = Test::new();
    test.pipe(|pipe| pipe.incoming = data(1, b"piece").repeat(10));
    for _ in 0..100 {
        assert!(test.poll(0).is_pending());
    }
    let (polls, wakes) = test.counts();
    assert_eq!(wakes, 9, "one less is expected after each time");
    assert_eq!(polls, 1 + 100 - 9);
}

#[test]
fn a_write_that_failed_is_heard_of_once() {
    let mut test = Test::new();
    test.pipe(|pipe| pipe.broken = true);
    assert!(test.poll(1).is_pending());
    assert_eq!(test.counts().1, 1);
    let Poll::Ready(Err(error)) = test.poll(0) else { panic!("the library goes on") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(test.counts().1, 1);
}

#[test]
fn the_end_waits_for_what_was_written() {
    let test = Test::new();
    let mut stream = test.paced.stream.clone();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut stream).poll_write(&mut context, b"goodbye").is_ready());
    test.pipe(|pipe| pipe.room = 4);
    assert!(Pin::new(&mut stream).poll_shutdown(&mut context).is_pending());
    test.pipe(|pipe| pipe.room = 4);
    assert!(Pin::new(&mut stream).poll_shutdown(&mut context).is_ready());
    assert_eq!(test.pipe(|pipe| pipe.writes.concat()), b"goodbye");
}
