//! The proxy that keeps every byte back for as long as a real line would.
//!
//! It has one thread, so it takes little from the programs that are measured. A connection costs a
//! round trip before its first byte. Acknowledgements are not limited by the rate. The last packet
//! of a message is never what is lost.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::Distance;
use super::link::Link;
use super::timer::Timer;
use super::window::Window;

/// How much is read at a time, in bytes.
const CHUNK: u32 = 64 * 1024;

/// What the kernel may take from a sender before the proxy does, in bytes. It is not on the line
/// yet; Linux gives a sender up to 4 MiB for that. With much less, the line stands still whenever
/// the proxy gets the processor a few milliseconds late.
const RECEIVE_BUFFER: u32 = 1024 * 1024;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Returns a listener for [`serve`].
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects everything that comes to a listener with `server`, at this distance.
pub(crate) async fn serve(
    listener: TcpListener,
    server: SocketAddr,
    distance: Distance,
) -> io::Result<()> {
    let links = [(); 2].map(|()| Arc::new(Mutex::new(Link::new(distance, Instant::now()))));
    loop {
        let (client, _) = listener.accept().await?;
        let [up, down] = links.clone();
        tokio::spawn(async move {
            // Both sides see a connection that ends; why is theirs to say.
            let _ = connect(client, server, distance, up, down).await;
        });
    }
}

async fn connect(
    mut client: TcpStream,
    server: SocketAddr,
    distance: Distance,
    up: Arc<Mutex<Link>>,
    down: Arc<Mutex<Link>>,
) -> io::Result<()> {
    let opens = Instant::now() + distance.rtt;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let mut server = socket.connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut up = Half::new(from_client, to_server, up, distance, opens)?;
    let mut down = Half::new(from_server, to_client, down, distance, opens)?;
    tokio::try_join!(up.run(), down.run()).map(|_| ())
}

/// Bytes on their way: none for the end of a stream.
struct Flying {
    bytes: Vec<u8>,
    size: u32,
    written: usize,
    was_full: bool,
    arrives: Instant,
}

/// One direction of a connection.
struct Half<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    link: Arc<Mutex<Link>>,
    timer: Timer,
    window: Window,
    /// The way back of an acknowledgement.
    back: Duration,
    /// When the first byte may leave.
    opens: Instant,
    ended: bool,
    flying: VecDeque<Flying>,
    /// When the sender hears that this many bytes arrived, and whether its window was full when
    /// they left.
    acknowledged: VecDeque<(Instant, u32, bool)>,
    /// How many bytes the sender has not heard of.
    unheard: u32,
    /// Since when the sender has had more to send, as far as is known: a process that gets the
    /// processor late must not make the line slower.
    waiting: Option<Instant>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
}

impl<'a> Half<'a> {
    fn new(
        from: ReadHalf<'a>,
        to: WriteHalf<'a>,
        link: Arc<Mutex<Link>>,
        distance: Distance,
        opens: Instant,
    ) -> io::Result<Self> {
        Ok(Self {
            from,
            to,
            link,
            timer: Timer::new()?,
            window: Window::new(distance.rtt, opens),
            back: distance.rtt / 2,
            opens,
            ended: false,
            flying: VecDeque::new(),
            acknowledged: VecDeque::new(),
            unheard: 0,
            waiting: None,
            spare: Vec::new(),
        })
    }

    async fn run(&mut self) -> io::Result<()> {
        let (mut blocked, mut was_blocked) = (false, false);
        loop {
            let now = Instant::now();
            self.hear(now);
            if !blocked {
                blocked = self.deliver(now, was_blocked).await?;
                was_blocked = blocked;
            }
            if self.ended && self.flying.is_empty() {
                return Ok(());
            }
            let room = self.room();
            let mut next = None;
            if !blocked {
                next = self.flying.front().map(|flying| flying.arrives);
            }
            if !self.ended && now < self.opens {
                next = Some(self.opens);
            } else if !self.ended && room == 0 {
                let heard = self.acknowledged.front().map(|(when, ..)| *when);
                next = next.into_iter().chain(heard).min();
            }
            let timer = &mut self.timer;
            tokio::select! {
                ready = self.from.readable(), if !self.ended && room > 0 && now >= self.opens => {
                    ready?;
                    self.take(room)?;
                }
                ready = self.to.writable(), if blocked => {
                    ready?;
                    blocked = false;
                }
                waited = async {
                    match next {
                        Some(when) => timer.until(when).await,
                        None => pending().await,
                    }
                } => waited?,
            }
        }
    }

    /// Lets the sender hear of what arrived.
    fn hear(&mut self, now: Instant) {
        while let Some(&(when, bytes, was_full)) = self.acknowledged.front()
            && when <= now
        {
            self.acknowledged.pop_front();
            if self.room() == 0 {
                self.waiting = self.waiting.map(|_| when);
            }
            self.unheard -= bytes;
            self.window.acknowledge(bytes, was_full, when);
        }
    }

    /// Returns how many bytes may leave now: none if that would be a small part of the window.
    fn room(&self) -> u32 {
        let (size, chunk) = (self.window.size(), CHUNK);
        let room = size.saturating_sub(self.unheard);
        if room < (size / 4).min(chunk / 4) {
            0
        } else {
            room.min(chunk)
        }
    }

    /// Takes from the sender what it has, at most `room` bytes, and puts it on the line.
    fn take(&mut self, room: u32) -> io::Result<()> {
        let fresh = || vec![0; CHUNK as usize];
        let mut bytes = self.spare.pop().unwrap_or_else(fresh);
        let count = match self.from.try_read(&mut bytes[..room as usize]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.spare.push(bytes);
                self.waiting = None;
                return Ok(());
            }
            count => count?,
        };
        let now = self.waiting.unwrap_or_else(Instant::now);
        self.waiting = (count == room as usize).then_some(now);
        let size = u32::try_from(count).map_err(io::Error::other)?;
        self.ended = size == 0;
        self.window.sends(now);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = link.send(size, now);
        drop(link);
        if sent.congested {
            self.window.congest(now);
        }
        self.unheard += size;
        // Bytes arrive in the order in which they were sent.
        let after = self.flying.back().map_or(now, |last| last.arrives);
        self.flying.push_back(Flying {
            bytes,
            size,
            written: 0,
            was_full: 2 * self.unheard > self.window.size(),
            arrives: sent.arrives.max(after),
        });
        Ok(())
    }

    /// Gives the receiver what has arrived, and returns whether it takes no more at this moment.
    async fn deliver(&mut self, now: Instant, was_blocked: bool) -> io::Result<bool> {
        while let Some(first) = self.flying.front_mut()
            && first.arrives <= now
        {
            if first.size == 0 {
                self.to.shutdown().await?;
            }
            while first.written < first.size as usize {
                let rest = &first.bytes[first.written..first.size as usize];
                match self.to.try_write(rest) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    count => first.written += count?,
                }
            }
            // What this process is late by is not the line's.
            let arrived = if was_blocked { now } else { first.arrives };
            self.acknowledged
                .push_back((arrived + self.back, first.size, first.was_full));
            self.spare
                .extend(self.flying.pop_front().map(|first| first.bytes));
        }
        Ok(false)
    }
}
